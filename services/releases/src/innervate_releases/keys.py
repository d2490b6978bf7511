"""Key pairs that sign releases, and the set of public keys that somebody trusts.

Ed25519: a signature is a function of key and bytes, so signing twice changes nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from innervate_releases.errors import Part, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PRIVATE_KEY = "key.pem"
"""Name of the private key in its Secret."""
_MAKE = "make a pair with `innervate release keygen`"


def generate() -> tuple[bytes, bytes]:
    """Make a new pair: the private key (PKCS #8) and the public key, both PEM."""
    private = Ed25519PrivateKey.generate()
    return (
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        public_pem(private.public_key()),
    )


def public_pem(key: Ed25519PublicKey) -> bytes:
    """A public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_private(pem: bytes, name: str) -> Ed25519PrivateKey:
    """Read a private key; ``name`` is where it comes from, for messages."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = f"{name} is no unencrypted private key in PEM; {_MAKE}"
        raise ReleaseError(Part.KEY, name, message) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseError(Part.KEY, name, f"{name} is no Ed25519 key; {_MAKE}")
    return key


def load_public(pem: bytes, name: str) -> Ed25519PublicKey:
    """Read a public key; ``name`` is where it comes from, for messages."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ReleaseError(Part.KEY, name, f"key {name!r} is no public key in PEM; {_MAKE}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ReleaseError(Part.KEY, name, f"key {name!r} is no Ed25519 key; {_MAKE}")
    return key


def load_trusted(directory: Path) -> Mapping[str, Ed25519PublicKey]:
    """Read the keys whose signatures count: every file of a directory, its name is the key's.

    Raises
    ------
    ReleaseError
        A file that is no key, or none at all: then nothing could be trusted.
    """
    found = {}
    if directory.is_dir():
        for path in sorted(directory.iterdir()):
            # A mounted ConfigMap has directories and links of its own, which start with dots.
            if path.is_file() and not path.name.startswith("."):
                found[path.name] = load_public(path.read_bytes(), path.name)
    if not found:
        message = f"there is no public key in {directory}; no signature can be trusted"
        raise ReleaseError(Part.KEY, str(directory), message, missing=True)
    return found


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of a key's DER form: what an envelope calls it."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(der).hexdigest()}"
