"""What can be wrong with a release, and whose bytes it is."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """Which part of a release an error is about."""

    BLOB = "Blob"
    """A file's bytes."""
    MANIFEST = "Manifest"
    """The release's own manifest."""
    PARENT = "Parent"
    """The manifest or signature of a release it comes from."""
    SIGNATURE = "Signature"
    """The envelope beside the manifest."""
    KEY = "Key"
    """A private key, or the set of public keys whose signatures count."""
    STORE = "Store"
    """The place itself: its address, its credentials, its network."""


class ReleaseError(Exception):
    """A release cannot be used.

    Parameters
    ----------
    part
        Whose bytes are wrong.
    subject
        Which one: a file's path, a digest, a key's name or a URI.
    message
        One sentence for people.
    missing
        Whether it is absent, as opposed to different from what it should be.
    """

    def __init__(self, part: Part, subject: str, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.part = part
        self.subject = subject
        self.missing = missing


class StoreError(ReleaseError):
    """The store cannot be used now, or not with these credentials."""

    def __init__(self, subject: str, message: str) -> None:
        super().__init__(Part.STORE, subject, message)


class NotFoundError(ReleaseError):
    """The store holds nothing under a key."""

    def __init__(self, part: Part, subject: str, message: str) -> None:
        super().__init__(part, subject, message, missing=True)
