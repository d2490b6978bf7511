"""A store in a directory: a mounted volume, or a folder on a laptop."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_releases.digests import CHUNK
from innervate_releases.errors import NotFoundError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from innervate_releases.store import Key

_UNFINISHED = ".unfinished-"
"""Start of the names of files that are being written."""


class DirectoryStore:
    """Objects are files; a file gets its name when its bytes are on the disk."""

    def __init__(self, root: Path, uri: str = "") -> None:
        self._root = root
        self._uri = uri or root.absolute().as_uri()

    @property
    def uri(self) -> str:
        """Where it is, for messages."""
        return self._uri

    def size(self, key: Key) -> int | None:
        """Bytes held under a key; None where there is nothing."""
        try:
            return (self._root / key.path).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused("cannot be read", error) from error

    def read(self, key: Key, offset: int = 0) -> Iterator[bytes]:
        """Give the bytes under a key, from an offset on, in pieces."""
        try:
            with (self._root / key.path).open("rb") as file:
                file.seek(offset)
                while chunk := file.read(CHUNK):
                    yield chunk
        except FileNotFoundError:
            message = f"{key.part.lower()} {key.digest} is not in {self._uri}"
            raise NotFoundError(key.part, key.digest, message) from None
        except OSError as error:
            raise self._refused("cannot be read", error) from error

    def write(self, key: Key, content: Iterable[bytes], size: int) -> None:
        """Put bytes under a key: wholly or not at all, replacing what was there."""
        del size  # a file grows as it is written
        target = self._root / key.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_UNFINISHED)
        except OSError as error:
            raise self._refused("cannot be written", error) from error
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in content:
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            unfinished.chmod(0o644)
            unfinished.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise self._refused("cannot be written", error) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _refused(self, what: str, error: OSError) -> StoreError:
        return StoreError(self._uri, f"{self._uri} {what}: {error.strerror or error}")


def _sync(directory: Path) -> None:
    """Make a new name survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
