"""Certificate authorities and their rotation: what is trusted, which one signs, when one goes.

An authority passes three stages. It is *published*: everyone gets to trust it, the one before still
signs. It *signs*. It is *retired*: its successor signs, and it stays trusted until the last
certificate it signed has expired. Which stage it is in follows from the clock alone, so that replicas
with the same state agree, and nothing is written when a certificate is issued.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping

_STATE_KEY = "authorities.json"
_BUNDLE_KEY = "ca.crt"
BACKDATE = timedelta(minutes=5)
"""How long before its issue a certificate is valid, for clocks that are behind."""


class AuthorityStateError(Exception):
    """The stored state cannot be used; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class RotationPolicy:
    """Life times of authorities and certificates."""

    leaf: timedelta = timedelta(hours=24)
    """A workload's certificate."""
    authority: timedelta = timedelta(days=365)
    """An authority."""
    replace_before: timedelta = timedelta(days=60)
    """A successor is made this long before an authority's end."""
    publish: timedelta = timedelta(hours=26)
    """A successor is trusted this long before it signs: longer than any certificate lives, since a
    workload learns whom to trust when it renews its own."""

    def __post_init__(self) -> None:
        if self.publish < self.leaf:
            raise ValueError("publish must not be shorter than leaf: workloads would not trust in time")
        if self.replace_before < self.publish + 2 * self.leaf:
            raise ValueError("replace_before must be at least publish + 2 * leaf")
        if self.authority <= self.replace_before:
            raise ValueError("authority must be longer than replace_before")


@dataclass(frozen=True, kw_only=True)
class Authority:
    """One authority."""

    certificate: x509.Certificate
    """Self-signed."""
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    """Its key."""
    signs_from: datetime
    """From when it signs, unless a later one does."""

    @property
    def not_after(self) -> datetime:
        """When it ends."""
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, kw_only=True)
class AuthorityState:
    """Every authority that is published, signs or is retired, oldest first. Never empty."""

    authorities: tuple[Authority, ...]

    @property
    def bundle(self) -> str:
        """All of them, PEM, the newest first: whom workloads are to trust."""
        return "".join(_pem(authority.certificate) for authority in reversed(self.authorities))

    def signer(self, now: datetime) -> Authority:
        """The one that signs now: the newest whose time has come.

        Should none be left that is valid, as after a year without an operator, the newest signs though
        it may not be trusted everywhere yet: waiting would help nobody.
        """
        due = [a for a in self.authorities if a.signs_from <= now < a.not_after]
        return due[-1] if due else self.authorities[-1]


def create(now: datetime, policy: RotationPolicy) -> AuthorityState:
    """The first authority of a new installation; it signs at once."""
    return AuthorityState(authorities=(_make(now, now, policy),))


def advance(state: AuthorityState, now: datetime, policy: RotationPolicy) -> AuthorityState:
    """The state that the clock asks for; the same object when nothing is due.

    Call it now and then (an hour is often enough) and store what differs.
    """
    newest = state.authorities[-1]
    if newest.not_after <= now:
        # Nothing that it signed is valid: there is no overlap to keep.
        return create(now, policy)
    kept = [
        authority
        for authority, successor in zip(state.authorities, state.authorities[1:], strict=False)
        if now < successor.signs_from + policy.leaf + BACKDATE and now < authority.not_after
    ]
    if newest.not_after - policy.replace_before <= now:
        kept += [newest, _make(now, min(now + policy.publish, newest.not_after - policy.leaf), policy)]
    else:
        kept.append(newest)
    return (
        state
        if len(kept) == len(state.authorities) and kept[-1] is newest
        else AuthorityState(authorities=tuple(kept))
    )


def rotate(state: AuthorityState, now: datetime, policy: RotationPolicy) -> AuthorityState:
    """Make a successor before its time, as after an administrator's request; the overlap is kept."""
    return replace(state, authorities=(*state.authorities, _make(now, now + policy.publish, policy)))


def to_secret(state: AuthorityState) -> dict[str, bytes]:
    """The data of the Secret that stores the state; ``ca.crt`` in it is for people."""
    entries = [
        {
            "certificate": _pem(authority.certificate),
            "key": authority.key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
            "signsFrom": authority.signs_from.isoformat(),
        }
        for authority in state.authorities
    ]
    return {_STATE_KEY: json.dumps(entries).encode(), _BUNDLE_KEY: state.bundle.encode()}


def from_secret(data: Mapping[str, bytes]) -> AuthorityState:
    """Read the data of the Secret.

    Raises
    ------
    AuthorityStateError
        It is not what `to_secret` wrote.
    """
    try:
        authorities = tuple(_parse(entry) for entry in json.loads(data[_STATE_KEY]))
    except (KeyError, TypeError, ValueError) as error:
        raise AuthorityStateError(
            f"the identity authority's Secret is damaged ({type(error).__name__} in {_STATE_KEY}); restore "
            "it from a backup, or delete it: a new authority is made, and workloads trust it once their "
            "certificates are renewed"
        ) from error
    if not authorities:
        raise AuthorityStateError(
            f"the identity authority's Secret holds no authority in {_STATE_KEY}; restore or delete it"
        )
    return AuthorityState(authorities=authorities)


def _parse(entry: Mapping[str, str]) -> Authority:
    certificate = x509.load_pem_x509_certificate(entry["certificate"].encode())
    key = serialization.load_pem_private_key(entry["key"].encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("the key is not the certificate's")
    signs_from = datetime.fromisoformat(entry["signsFrom"])
    if signs_from.tzinfo is None:
        raise ValueError("signsFrom has no time zone")
    return Authority(certificate=certificate, key=key, signs_from=signs_from.astimezone(UTC))


def _make(now: datetime, signs_from: datetime, policy: RotationPolicy) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    serial = x509.random_serial_number()
    # A name of its own, so that a verifier never tries one authority's key for another's signature.
    common_name = f"innervate identity authority {serial:x}"[:64]
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + policy.authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate=certificate, key=key, signs_from=signs_from)


def key_usage(*, sign_certificates: bool = False, encipher_keys: bool = False) -> x509.KeyUsage:
    """The key usage of an authority (it signs certificates) or of a workload (it signs handshakes)."""
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=encipher_keys,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
