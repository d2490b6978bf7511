"""Asking the identity authority for a certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from innervate_api.identity.v1 import identity_pb2, identity_pb2_grpc

from innervate_service.probes import split_address
from innervate_service.tls import Certificate
from innervate_service.tracing import ClientTracing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS = 10.0
"""Time limit of one request."""


class SigningRequest(NamedTuple):
    """A fresh key and what the authority is to sign."""

    key: bytes
    """PEM, PKCS#8."""
    der: bytes
    """PKCS#10."""


def signing_request(dns_names: Sequence[str]) -> SigningRequest:
    """Make an EC P-256 key and a request for these names; the key is never written by this."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(names, critical=True)
        .sign(key, hashes.SHA256())
    )
    return SigningRequest(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        request.public_bytes(serialization.Encoding.DER),
    )


async def request_certificate(
    *,
    endpoint: str,
    trust_domain: str,
    dns_names: Sequence[str],
    token_file: Path,
    trust_directory: Path,
) -> Certificate:
    """Get a certificate for a new key.

    Token and trusted authorities are read anew each time: both are replaced while the pod runs.

    Raises
    ------
    OSError
        Token or trust cannot be read.
    grpc.aio.AioRpcError
        The authority cannot be reached, or refuses.
    ValueError
        What it sent is not a certificate for this key, these names and this trust domain.
    """
    token, authorities = _read(token_file, trust_directory / "ca.crt")
    credentials = grpc.ssl_channel_credentials(root_certificates=authorities)
    request = signing_request(dns_names)
    host, port = split_address(endpoint)
    channel = grpc.aio.secure_channel(endpoint, credentials, interceptors=[ClientTracing(host, port)])
    async with channel:
        response = await identity_pb2_grpc.IdentityServiceStub(channel).Issue(
            identity_pb2.IssueRequest(certificate_signing_request=request.der),
            timeout=_SECONDS,
            metadata=(("authorization", f"Bearer {token}"),),
        )
    certificate = Certificate(
        chain=response.certificate_chain.encode(),
        key=request.key,
        authorities=response.trust_bundle.encode(),
    )
    problem = mismatch(certificate, trust_domain=trust_domain, dns_names=dns_names)
    if problem:
        raise ValueError(f"the authority's answer is of no use: {problem}")
    return certificate


def mismatch(certificate: Certificate, *, trust_domain: str, dns_names: Sequence[str]) -> str | None:
    """Why a certificate does not serve a workload that asks for this, None when it does."""
    leaf = certificate.leaf
    key = serialization.load_pem_private_key(certificate.key, password=None)
    if leaf.public_key() != key.public_key():
        return "it is for another key"
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "it holds no names"
    missing = set(dns_names) - set(names.get_values_for_type(x509.DNSName))
    if missing:
        return f"it lacks the names {', '.join(sorted(missing))}"
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if not any(uri.startswith(f"spiffe://{trust_domain}/") for uri in uris):
        return f"it holds no SPIFFE ID of the trust domain {trust_domain}"
    return None


def _read(token_file: Path, authorities_file: Path) -> tuple[str, bytes]:
    # Mounts in memory: reading them does not hold the event loop up.
    return token_file.read_text(encoding="ascii").strip(), authorities_file.read_bytes()
