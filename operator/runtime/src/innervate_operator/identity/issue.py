"""Checking a signing request against who asks, and signing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from innervate_service.errors import InvalidArgument, PermissionDenied

from innervate_operator.identity.authority import BACKDATE, key_usage

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_service.auth import Identity

    from innervate_operator.identity.authority import AuthorityState, RotationPolicy

MAX_REQUEST_BYTES = 16 * 1024
"""A request with 32 long names is about 8 KiB."""
MAX_DNS_NAMES = 32
_FIELD = "certificate_signing_request"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A DNS label (RFC 1123), which a Service's name is."""
_RSA_BITS = range(2048, 8192 + 1)
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class Issued(NamedTuple):
    """A signed certificate."""

    chain: str
    """PEM, leaf first."""
    not_after: datetime
    """When it ends."""


def spiffe_id(identity: Identity, trust_domain: str) -> str:
    """The SPIFFE ID of a service account."""
    return f"spiffe://{trust_domain}/ns/{identity.namespace}/sa/{identity.account}"


def allowed_name(name: str, *, service: str, namespace: str, cluster_domain: str) -> bool:
    """Whether a DNS name is that Service of the namespace, or this machine itself."""
    if name == "localhost":
        return True
    asked, _, rest = name.partition(".")
    return (
        asked == service
        and _LABEL.fullmatch(asked) is not None
        and rest in {namespace, f"{namespace}.svc", f"{namespace}.svc.{cluster_domain}"}
    )


def issue(
    state: AuthorityState,
    request: bytes,
    identity: Identity,
    *,
    now: datetime,
    policy: RotationPolicy,
    trust_domain: str,
    cluster_domain: str,
    service: str | None = None,
) -> Issued:
    """Sign a request for a service account.

    Key and DNS names are taken from the request, the SPIFFE ID from the account; everything else in
    the request is ignored.

    Parameters
    ----------
    request
        PKCS#10, DER.
    service
        The Service that the account may speak for; left out, the one of its own name: no account of a
        namespace can pass for another's service.

    Raises
    ------
    InvalidArgument
        It is no proper request, or its key is weak.
    PermissionDenied
        It asks for a name that is not the account's.
    """
    csr = _parse(request)
    public = _public_key(csr)
    names = _dns_names(csr)
    service = service or identity.account
    for name in names:
        if not allowed_name(
            name, service=service, namespace=identity.namespace, cluster_domain=cluster_domain
        ):
            own = f"{service}.{identity.namespace}"
            raise PermissionDenied(
                f"service account {identity} may not have a certificate for {name[:255]!r}; ask for "
                f"{own}, {own}.svc, {own}.svc.{cluster_domain} or localhost",
                {"caller": str(identity), "dnsName": name[:255]},
            )
    signer = state.signer(now)
    not_after = min(now + policy.leaf, signer.not_after)
    uri = x509.UniformResourceIdentifier(spiffe_id(identity, trust_domain))
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
        # Critical because the subject is empty (RFC 5280, 4.2.1.6).
        .add_extension(
            x509.SubjectAlternativeName([uri, *(x509.DNSName(name) for name in names)]), critical=True
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(encipher_keys=isinstance(public, rsa.RSAPublicKey)), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False
        )
        .sign(signer.key, hashes.SHA256())
    )
    return Issued(leaf.public_bytes(serialization.Encoding.PEM).decode(), leaf.not_valid_after_utc)


def _parse(request: bytes) -> x509.CertificateSigningRequest:
    if len(request) > MAX_REQUEST_BYTES:
        raise InvalidArgument(_FIELD, f"{len(request)} bytes", f"must be at most {MAX_REQUEST_BYTES} bytes")
    try:
        csr = x509.load_der_x509_csr(request)
        valid = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        raise InvalidArgument(
            _FIELD, f"{len(request)} bytes", "must be a PKCS#10 request in DER, signed with a usual algorithm"
        ) from None
    if not valid:
        raise InvalidArgument(_FIELD, "its signature", "must be made with the request's own key")
    return csr


def _public_key(csr: x509.CertificateSigningRequest) -> PublicKey:
    try:
        key = csr.public_key()
    except (ValueError, UnsupportedAlgorithm):
        key = None
    strong = (
        (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, _CURVES))
        or (isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA_BITS)
        or isinstance(key, ed25519.Ed25519PublicKey)
    )
    if not strong or not isinstance(
        key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    ):
        shown = f"{type(key).__name__} {getattr(key, 'key_size', '')}".strip()
        raise InvalidArgument(
            f"{_FIELD}.public_key",
            shown,
            "must be EC P-256, P-384 or P-521, Ed25519, or RSA with 2048 to 8192 bits",
        )
    return key


def _dns_names(csr: x509.CertificateSigningRequest) -> list[str]:
    try:
        extension = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise InvalidArgument(
            f"{_FIELD}.extensions", "its names", "must be readable and given once"
        ) from None
    # A certificate's names are a set; the order of the request is kept.
    names = list(dict.fromkeys(extension.value.get_values_for_type(x509.DNSName)))
    if len(names) > MAX_DNS_NAMES:
        raise InvalidArgument(f"{_FIELD}.dns_names", len(names), f"must be at most {MAX_DNS_NAMES}")
    return names
