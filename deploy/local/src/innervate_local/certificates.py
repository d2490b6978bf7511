"""A cluster's own certificate authority, and the kubeconfigs that use it."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import os
from typing import TYPE_CHECKING, NamedTuple

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_LIFETIME = dt.timedelta(days=365)
"""A local cluster is remade far more often than once a year."""
_SKEW = dt.timedelta(minutes=5)


class KeyPair(NamedTuple):
    """A certificate and its key, PEM encoded."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write ``name.crt`` and ``name.key``; give their paths.

        Parameters
        ----------
        directory
            Where to write; made if missing.
        name
            The files' stem.
        """
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        write_private(certificate, self.certificate)
        write_private(key, self.key)
        return certificate, key


class Authority:
    """Issues the certificates of one cluster.

    Parameters
    ----------
    name
        The common name of the root certificate.
    """

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name, ())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        self._certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def root(self) -> KeyPair:
        """The root certificate and its key."""
        return KeyPair(self._certificate.public_bytes(serialization.Encoding.PEM), private_pem(self._key))

    def issue(self, name: str, *, groups: Iterable[str] = (), addresses: Iterable[str] = ()) -> KeyPair:
        """Issue a certificate.

        Parameters
        ----------
        name
            Common name: to Kubernetes, the user.
        groups
            Organisations: to Kubernetes, the user's groups.
        addresses
            Host names and IP addresses it may serve on; with none it is a
            client certificate, with some a server may use it too.

        Returns
        -------
        KeyPair
            The new certificate and key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [_general_name(address) for address in addresses]
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if alternatives:
            purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = (
            _builder(_subject(name, groups), self._name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), private_pem(key))


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Encode a private key."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_key() -> KeyPair:
    """Make the key pair that signs ServiceAccount tokens; its first half is the public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return KeyPair(public, private_pem(key))


def kubeconfig(*, cluster: str, url: str, root: bytes, user: str, identity: KeyPair) -> str:
    """Render a self-contained kubeconfig.

    Parameters
    ----------
    cluster
        The name of the cluster and of the context.
    url
        Where the API server answers.
    root
        The root certificate, PEM.
    user
        The name of the user's entry.
    identity
        The user's client certificate.
    """
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": cluster,
            "clusters": [
                {"name": cluster, "cluster": {"server": url, "certificate-authority-data": _base64(root)}}
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _base64(identity.certificate),
                        "client-key-data": _base64(identity.key),
                    },
                }
            ],
        },
        sort_keys=False,
    )


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that only its owner may read; give its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return path


def _subject(name: str, groups: Iterable[str]) -> x509.Name:
    organisations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organisations, x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
