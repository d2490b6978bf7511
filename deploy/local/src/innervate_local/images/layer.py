"""Write image layers as tar files that depend on nothing but their content.

Order, owners and times are fixed, so the same input gives the same digest on
every machine and a node recognises a layer that it already has. Layers are not
compressed: they never leave the machine, and unpacking is what a start waits for.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

EPOCH = 0
"""The modification time of every entry, in seconds: compiled Python here does not look at it."""


class _File(NamedTuple):
    """What makes two entries of two file systems the same."""

    kind: bytes
    mode: int
    owner: tuple[int, int]
    link: str
    digest: bytes


def from_trees(trees: Iterable[tuple[Path, str]], output: BinaryIO) -> None:
    """Write directories as a layer, readable by everyone and owned by root.

    Parameters
    ----------
    trees
        Pairs of a directory (or file) here and its absolute place in the image.
    output
        Where the tar file goes.
    """
    entries: dict[str, Path | None] = {}
    for source, target in trees:
        place = PurePosixPath(target.lstrip("/"))
        entries.update({str(parent): None for parent in place.parents if parent.name})
        entries[str(place)] = source
        if source.is_dir():
            entries.update({str(place / path.relative_to(source)): path for path in source.rglob("*")})
    with _writer(output) as tar:
        for name in sorted(entries):
            path = entries[name]
            if path is None or path.is_dir():
                tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
            else:
                content = path.read_bytes()
                entry = _entry(name, tarfile.REGTYPE, 0o755 if path.stat().st_mode & 0o100 else 0o644)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def from_archive(archive: Path, output: BinaryIO, *, below: Path | None = None) -> None:
    """Write a root file system as a layer, or what it adds to another one.

    Parameters
    ----------
    archive
        A tar file of a root file system.
    output
        Where the tar file goes.
    below
        The root file system or layer underneath: what is equal there is left
        out, and what is missing here is marked as deleted.
    """
    known = _files(below) if below else {}
    seen = set()
    with tarfile.open(archive) as source, _writer(output) as tar:
        members = {name: member for member in source if (name := _wanted(member.name))}
        for name in sorted(members):
            member = members[name]
            seen.add(name)
            if name in known and _describe(source, member) == known[name]:
                continue
            content = source.extractfile(member) if member.isreg() or member.islnk() else None
            entry = _entry(name, member.type, member.mode)
            entry.uid, entry.gid, entry.linkname = member.uid, member.gid, member.linkname
            entry.size = member.size
            if member.islnk():
                # Its target may be missing from this layer: write the content instead.
                entry.type, entry.linkname = tarfile.REGTYPE, ""
                entry.size = source.getmember(member.linkname).size
            tar.addfile(entry, content)
        for name in _topmost(set(known) - seen):
            place = PurePosixPath(name)
            tar.addfile(_entry(str(place.with_name(f".wh.{place.name}")), tarfile.REGTYPE, 0o644))


def digest(path: Path) -> str:
    """Give a file's digest as OCI writes it."""
    with path.open("rb") as handle:
        return f"sha256:{hashlib.file_digest(handle, 'sha256').hexdigest()}"


def _files(archive: Path) -> Mapping[str, _File]:
    with tarfile.open(archive) as source:
        return {name: _describe(source, member) for member in source if (name := _wanted(member.name))}


def _describe(source: tarfile.TarFile, member: tarfile.TarInfo) -> _File:
    content = source.extractfile(member) if member.isreg() or member.islnk() else None
    read = content.read() if content else b""
    kind = tarfile.REGTYPE if member.islnk() else member.type
    return _File(
        kind,
        member.mode,
        (member.uid, member.gid),
        member.linkname if member.issym() else "",
        hashlib.sha256(read).digest(),
    )


def _wanted(name: str) -> str:
    """Give an entry's name as layers spell it, empty for what a container gets from its runtime."""
    name = name.removeprefix("./").strip("/")
    top, _, rest = name.partition("/")
    return "" if name in {"", "."} or (rest and top in {"dev", "proc", "sys", "run", "tmp"}) else name


def _topmost(names: set[str]) -> list[str]:
    return sorted(
        name for name in names if not any(str(parent) in names for parent in PurePosixPath(name).parents)
    )


@contextlib.contextmanager
def _writer(output: BinaryIO) -> Iterator[tarfile.TarFile]:
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as tar:
        yield tar


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = kind, mode, EPOCH
    return entry
