"""SHA-256 digests, written ``sha256:<64 hexadecimal digits>``."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PATTERN = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[str, Field(pattern=PATTERN, max_length=71)]
"""A digest in the only spelling that counts."""

CHUNK = 1 << 20
"""Bytes that are held in memory at once."""


def of_bytes(content: bytes) -> str:
    """Digest of bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def of_file(path: Path) -> tuple[str, int]:
    """Digest and size of a file, read once."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks(path):
        digest.update(chunk)
        size += len(chunk)
    return f"sha256:{digest.hexdigest()}", size


def chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes in pieces of at most `CHUNK`."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def of_chunks(content: Iterable[bytes]) -> tuple[str, int]:
    """Digest and size of a stream, which is read to its end."""
    digest, size = hashlib.sha256(), 0
    for chunk in content:
        digest.update(chunk)
        size += len(chunk)
    return f"sha256:{digest.hexdigest()}", size


def hexadecimal(digest: str) -> str:
    """The digits of a digest."""
    return digest.removeprefix("sha256:")
