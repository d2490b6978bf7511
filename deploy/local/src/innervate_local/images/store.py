"""The cache of image layers: blobs by digest, and which recipe gave which blob."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from innervate_local import paths
from innervate_local.images import layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_UNUSED_S = 14 * 24 * 3600
"""Blobs that no build has used for this long, in seconds, are removed."""


class Blob(NamedTuple):
    """Content in the cache."""

    digest: str
    """``sha256:…``."""
    size: int
    """In bytes."""


def directory() -> Path:
    """Give the directory of everything that is cached about images."""
    return paths.cache() / "images"


def path(digest: str) -> Path:
    """Give the file that holds a blob."""
    return directory() / "blobs" / digest.replace(":", "/")


def put(content: bytes) -> Blob:
    """Keep small content and give its blob."""
    return _keep(lambda output: output.write(content))


def made(recipe: str, make: Callable[[BinaryIO], object]) -> Blob:
    """Give the blob that a recipe makes, making it only where it is missing.

    Parameters
    ----------
    recipe
        A digest of all that decides the content.
    make
        Writes the content.
    """
    record = directory() / "recipes" / recipe
    if record.is_file():
        blob = Blob(*json.loads(record.read_text()))
        if path(blob.digest).is_file():
            os.utime(path(blob.digest))
            os.utime(record)
            return blob
    blob = _keep(make)
    record.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(record) as output:
        output.write(json.dumps(blob).encode())
    return blob


@contextmanager
def locked(what: str) -> Iterator[None]:
    """Let only one process work on a part of the cache at a time.

    Parameters
    ----------
    what
        The part's name.
    """
    directory().mkdir(parents=True, exist_ok=True)
    with (directory() / f"{what}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def prune() -> None:
    """Remove what no build has used for two weeks."""
    oldest = time.time() - _UNUSED_S
    for file in [*directory().glob("blobs/sha256/*"), *directory().glob("recipes/*")]:
        if file.stat().st_mtime < oldest:
            file.unlink()


def _keep(make: Callable[[BinaryIO], object]) -> Blob:
    blobs = directory() / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory()) as scratch:
        written = Path(scratch) / "blob"
        with written.open("wb") as output:
            make(output)
        blob = Blob(layer.digest(written), written.stat().st_size)
        written.replace(path(blob.digest))
    return blob


@contextmanager
def _replacing(target: Path) -> Iterator[BinaryIO]:
    with tempfile.TemporaryDirectory(dir=directory()) as scratch:
        written = Path(scratch) / target.name
        with written.open("wb") as output:
            yield output
        written.replace(target)
