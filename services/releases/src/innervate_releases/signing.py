"""The signature of a release: a DSSE envelope over an in-toto statement that names its manifest.

DSSE v1.0.2 (https://github.com/secure-systems-lab/dsse) and in-toto attestation
Statement v1 (https://github.com/in-toto/attestation). An envelope of ours has one
signature and one spelling; another one is refused, so that no byte of it is free.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Literal

import rfc8785
from cryptography.exceptions import InvalidSignature
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from innervate_releases import digests, keys
from innervate_releases.digests import Digest
from innervate_releases.errors import Part, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://innervate.dev/attestation/release/v1"
"""Says: the signer vouches for the release whose manifest is the subject."""


class _Signature(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    keyid: Digest
    sig: Annotated[str, Field(max_length=1024)]


class _Envelope(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    payload: Annotated[str, Field(max_length=32768)]
    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=1)]


def statement(digest: str) -> bytes:
    """The signed statement about a release's manifest, as canonical JSON."""
    return rfc8785.dumps(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": "manifest", "digest": {"sha256": digests.hexadecimal(digest)}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {},
        }
    )


def sign(digest: str, key: Ed25519PrivateKey) -> bytes:
    """Sign a release: the envelope's bytes, always the same for the same key."""
    payload = statement(digest)
    return _spelling(payload, keys.fingerprint(key.public_key()), key.sign(_encoded(payload)))


def verify(
    content: bytes, digest: str, trusted: Mapping[str, Ed25519PublicKey], *, part: Part = Part.SIGNATURE
) -> str:
    """Check an envelope and give the name of the trusted key that signed it.

    Parameters
    ----------
    content
        The envelope's bytes.
    digest
        Of the manifest that must be the statement's subject.
    trusted
        Keys whose signatures count, by name.
    part
        Whose signature it is: what an error says is wrong.

    Raises
    ------
    ReleaseError
        Another spelling, another subject, a wrong signature, or a key nobody here trusts.
    """
    try:
        envelope = _Envelope.model_validate_json(content)
        payload = base64.b64decode(envelope.payload, validate=True)
        given = base64.b64decode(envelope.signatures[0].sig, validate=True)
    except (ValidationError, binascii.Error, ValueError) as error:
        raise ReleaseError(part, digest, f"the signature of {digest} is no envelope of ours") from error
    keyid = envelope.signatures[0].keyid
    named = {keys.fingerprint(key): (name, key) for name, key in trusted.items()}
    if keyid not in named:
        names = ", ".join(sorted(trusted))
        message = f"release {digest} is signed by an unknown key ({keyid}); trusted are: {names}"
        raise ReleaseError(part, digest, message)
    name, key = named[keyid]
    try:
        key.verify(given, _encoded(payload))
    except InvalidSignature as error:
        message = f"the signature of {digest} was changed: it is not by key {name!r}, which it names"
        raise ReleaseError(part, digest, message) from error
    if payload != statement(digest):
        raise ReleaseError(part, digest, f"the signature beside {digest} signs something else")
    if content != _spelling(payload, keyid, given):
        raise ReleaseError(
            part, digest, f"the signature of {digest} was changed: it is not in canonical JSON"
        )
    return name


def _spelling(payload: bytes, keyid: str, signature: bytes) -> bytes:
    return rfc8785.dumps(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )


def _encoded(payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
