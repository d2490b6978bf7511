"""A store's objects as a tar stream: how a laptop reaches a volume that only pods can mount.

Each member's name is its path in the store. Members are checked like every other
write: a blob or manifest by its digest, an envelope by its size alone, since who
may sign is decided where it is verified.
"""

from __future__ import annotations

import re
import tarfile
from typing import IO, TYPE_CHECKING

from innervate_releases.digests import CHUNK, PATTERN
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.store import MAX_ENVELOPE, Folder, Key, checked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from innervate_releases.store import Store

_PATH = re.compile(r"^(blobs|manifests|signatures)/sha256/([0-9a-f]{64})$")


def is_digest(text: str) -> bool:
    """Whether a text is a digest in its only spelling."""
    return re.fullmatch(PATTERN, text) is not None


def missing(store: Store, asked: Iterable[Sequence[object]]) -> list[str]:
    """Paths that a store lacks, or holds with another size than is asked for.

    Parameters
    ----------
    store
        The store.
    asked
        Pairs of path and size, or None where any size is right.
    """
    found = ((str(path), size, store.size(key(str(path)))) for path, size in asked)
    return [path for path, size, held in found if held is None or size not in (None, held)]


def key(path: str) -> Key:
    """Key of a path in a store.

    Raises
    ------
    ReleaseError
        No object of a store has such a path.
    """
    found = _PATH.match(path)
    if not found:
        raise ReleaseError(Part.STORE, path, f"{path!r} is no path of a release store")
    return Key(Folder(found.group(1)), f"sha256:{found.group(2)}")


def send(out: IO[bytes], objects: Iterable[tuple[Key, int, Iterable[bytes]]]) -> None:
    """Write objects to a stream: key, size and bytes of each."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as archive:
        for of, size, content in objects:
            member = tarfile.TarInfo(of.path)
            member.size = size
            archive.addfile(member, _Reader(content))  # type: ignore[arg-type]  # only read() is called


def receive(store: Store, stream: IO[bytes]) -> int:
    """Put the objects of a stream into a store, each checked, and tell how many there were.

    Raises
    ------
    ReleaseError
        A member is none of a store's objects or was changed on its way, or the stream broke off.
    """
    count = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as archive:
            for member in archive:
                of, content = key(member.name), archive.extractfile(member)
                if content is None:
                    raise ReleaseError(Part.STORE, member.name, f"{member.name} is no file")
                store.write(of, _checked(of, member.size, _chunks(content)), member.size)
                count += 1
    except tarfile.TarError as error:
        raise ReleaseError(Part.STORE, store.uri, f"the stream broke off: {error}") from error
    return count


def _checked(of: Key, size: int, content: Iterator[bytes]) -> Iterator[bytes]:
    if of.folder is not Folder.SIGNATURES:
        return checked(content, digest=of.digest, size=size, wrong=lambda what: _spoiled(of, what))
    if size > MAX_ENVELOPE:
        raise ReleaseError(Part.STORE, of.path, f"{of.path} is larger than {MAX_ENVELOPE} bytes")
    return content


def _spoiled(of: Key, what: str) -> ReleaseError:
    return ReleaseError(Part.STORE, of.path, f"{of.path} {what}: spoiled on its way")


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK):
        yield chunk


class _Reader:
    """Pieces of bytes as a file to read from."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = iter(content)
        self._rest = b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._content, None)
            if chunk is None:
                break
            self._rest += chunk
        given, self._rest = self._rest[:size], self._rest[size:]
        return given
