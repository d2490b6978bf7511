"""What every place for releases can do: hold bytes under a key that is a digest."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from innervate_releases import digests
from innervate_releases.errors import Part, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_ENVELOPE = 64 << 10
"""Largest signature envelope that is read."""


class Folder(StrEnum):
    """What a key names; the first part of its path in every backend."""

    BLOBS = "blobs"
    """Files, by the digest of their bytes."""
    MANIFESTS = "manifests"
    """Manifests, by the digest of their bytes."""
    SIGNATURES = "signatures"
    """Envelopes, by the digest of the manifest they sign."""


_PARTS = {Folder.BLOBS: Part.BLOB, Folder.MANIFESTS: Part.MANIFEST, Folder.SIGNATURES: Part.SIGNATURE}


class Key(NamedTuple):
    """Name of one object of a store."""

    folder: Folder
    digest: str

    @property
    def path(self) -> str:
        """Path below the store's root: ``<folder>/sha256/<hex>``."""
        return f"{self.folder}/sha256/{digests.hexadecimal(self.digest)}"

    @property
    def part(self) -> Part:
        """What an error about it says is wrong."""
        return _PARTS[self.folder]


def blob(digest: str) -> Key:
    """Key of a file."""
    return Key(Folder.BLOBS, digest)


def manifest(digest: str) -> Key:
    """Key of a manifest."""
    return Key(Folder.MANIFESTS, digest)


def signature(digest: str) -> Key:
    """Key of the envelope that signs a manifest."""
    return Key(Folder.SIGNATURES, digest)


class Store(Protocol):
    """A place for releases. What it returns is not trusted: readers check digests themselves."""

    @property
    def uri(self) -> str:
        """Where it is, for messages."""

    def size(self, key: Key) -> int | None:
        """Bytes held under a key; None where there is nothing.

        Raises
        ------
        StoreError
            The store does not answer, or refuses.
        """

    def read(self, key: Key, offset: int = 0) -> Iterator[bytes]:
        """Give the bytes under a key, from an offset on, in pieces.

        Raises
        ------
        NotFoundError
            There is nothing under the key.
        StoreError
            The store does not answer, or refuses.
        """

    def write(self, key: Key, content: Iterable[bytes], size: int) -> None:
        """Put bytes under a key: wholly or not at all, replacing what was there.

        When ``content`` raises, nothing is left under the key that was not there before.

        Raises
        ------
        StoreError
            The store does not answer, refuses, or is full.
        """


def read_small(store: Store, key: Key, limit: int) -> bytes:
    """Read an object into memory, refusing one that is larger than ``limit`` bytes."""
    content = bytearray()
    for chunk in store.read(key):
        content += chunk
        if len(content) > limit:
            message = f"{key.part.lower()} {key.digest} in {store.uri} is larger than {limit} bytes"
            raise ReleaseError(key.part, key.digest, message)
    return bytes(content)


def write_small(store: Store, key: Key, content: bytes) -> None:
    """Put bytes under a key."""
    store.write(key, (content,), len(content))


def checked(
    content: Iterable[bytes], *, digest: str, size: int, wrong: Callable[[str], ReleaseError]
) -> Iterator[bytes]:
    """Pass a stream on and raise at its end, or earlier, when it is not what it should be.

    Parameters
    ----------
    content
        The stream.
    digest, size
        What it must be.
    wrong
        Makes the error from what is wrong, such as "has 3 bytes instead of 4".
    """
    seen, count = hashlib.sha256(), 0
    for chunk in content:
        seen.update(chunk)
        count += len(chunk)
        if count > size:
            raise wrong(f"has more than its {size} bytes")
        yield chunk
    if count != size:
        raise wrong(f"has {count} bytes instead of {size}")
    if seen.hexdigest() != digests.hexadecimal(digest):
        raise wrong(f"was changed: its bytes have the digest sha256:{seen.hexdigest()}")
