"""Releases on their way: into a store, out of it, and from one to another."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from innervate_releases import digests, signing, store
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.manifest import MAX_BYTES, Manifest, parse
from innervate_releases.store import MAX_ENVELOPE, Store, checked, read_small, write_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from innervate_releases.manifest import File


def push(
    directory: Path,
    manifest: Manifest,
    target: Store,
    *,
    again: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> str:
    """Put a release into a store: files first, the manifest last, so that a manifest means a whole release.

    Parameters
    ----------
    directory
        Holds the files that the manifest names.
    manifest
        Made by `build` from the same directory.
    target
        The store.
    again
        Send also what the store has already: to repair damaged bytes.
    progress
        Told of every piece sent.

    Returns
    -------
    str
        The release's digest.

    Raises
    ------
    ReleaseError
        A file changed since the manifest was made, or the store refuses.
    """
    for file in manifest.files:
        key = store.blob(file.digest)
        if not again and target.size(key) == file.size:
            _tell(progress, file.path, file.size)
            continue
        content = checked(
            digests.chunks(directory / file.path),
            digest=file.digest,
            size=file.size,
            wrong=_changed_here(directory / file.path),
        )
        target.write(key, _watched(content, file.path, progress), file.size)
    written = manifest.canonical()
    digest = digests.of_bytes(written)
    if again or target.size(store.manifest(digest)) != len(written):
        write_small(target, store.manifest(digest), written)
    return digest


def sign(target: Store, digest: str, key: Ed25519PrivateKey) -> None:
    """Put a signature beside a manifest that is in the store and unchanged."""
    read_manifest(target, digest)
    write_small(target, store.signature(digest), signing.sign(digest, key))


def read_manifest(source: Store, digest: str, *, part: Part = Part.MANIFEST) -> Manifest:
    """Read a manifest and check that it has its digest."""
    try:
        return parse(read_small(source, store.manifest(digest), MAX_BYTES), digest, part=part)
    except ReleaseError as error:
        raise _of(error, part) from error


def read_signature(
    source: Store, digest: str, trusted: Mapping[str, Ed25519PublicKey], *, part: Part = Part.SIGNATURE
) -> str:
    """Read a release's signature, check it, and give the name of the key that made it."""
    try:
        content = read_small(source, store.signature(digest), MAX_ENVELOPE)
    except ReleaseError as error:
        raise _of(error, part) from error
    return signing.verify(content, digest, trusted, part=part)


def copy_lineage(source: Store, target: Store, parents: Sequence[str]) -> None:
    """Copy the manifests and signatures of all ancestors, without their files.

    A release is verified with its ancestors in its own store: whoever puts a release
    into another store than its parents' calls this first.
    """
    seen: set[str] = set()
    waiting = list(parents)
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        manifest = read_manifest(source, digest, part=Part.PARENT)
        write_small(target, store.manifest(digest), manifest.canonical())
        if source.size(store.signature(digest)) is not None:
            envelope = read_small(source, store.signature(digest), MAX_ENVELOPE)
            write_small(target, store.signature(digest), envelope)
        waiting += manifest.parents


def fetch(
    source: Store,
    digest: str,
    trusted: Mapping[str, Ed25519PublicKey],
    *,
    into: Path,
    files: Sequence[str] = (),
    progress: Callable[[str, int], None] | None = None,
) -> Manifest:
    """Bring a release's files into a directory; none gets its name before its bytes are verified.

    A broken download goes on where it stopped; a file that is there and right is kept.

    Parameters
    ----------
    source
        The store.
    digest
        Of the release.
    trusted
        Keys whose signatures count.
    into
        The directory; it is made where it does not exist.
    files
        Paths inside the release; all of them where none is given.
    progress
        Told of every piece brought.

    Raises
    ------
    ReleaseError
        The manifest, the signature or a file is wrong, or the store does not answer.
    """
    manifest = read_manifest(source, digest)
    read_signature(source, digest, trusted)
    wanted = [manifest.file(path) for path in files] or list(manifest.files)
    for file in wanted:
        _fetch(source, file, into / file.path, progress)
    return manifest


def blob_chunks(source: Store, file: File, offset: int = 0) -> Iterator[bytes]:
    """A file's bytes from a store; a missing one is told by its path."""
    try:
        yield from source.read(store.blob(file.digest), offset)
    except ReleaseError as error:
        if not error.missing:
            raise
        message = f"blob of {file.path} ({file.digest}) is not in {source.uri}"
        raise ReleaseError(Part.BLOB, file.path, message, missing=True) from error


def changed(file: File) -> Callable[[str], ReleaseError]:
    """Make errors about a file's bytes in a store."""
    return lambda what: ReleaseError(Part.BLOB, file.path, f"blob of {file.path} ({file.digest}) {what}")


def _fetch(source: Store, file: File, target: Path, progress: Callable[[str, int], None] | None) -> None:
    if target.is_file() and target.stat().st_size == file.size and digests.of_file(target)[0] == file.digest:
        _tell(progress, file.path, file.size)
        return
    partial = target.with_name(f".{target.name}.{digests.hexadecimal(file.digest)[:16]}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _complete(source, file, partial, progress)
        partial.replace(target)
    except OSError as error:
        message = f"{target} cannot be written: {error.strerror or error}"
        raise ReleaseError(Part.STORE, str(target), message) from error


def _complete(source: Store, file: File, partial: Path, progress: Callable[[str, int], None] | None) -> None:
    """Fill a partial file and check it; a wrong one is removed, a broken one stays for the next attempt."""
    seen, count = hashlib.sha256(), 0
    if partial.exists():
        for chunk in digests.chunks(partial):
            seen.update(chunk)
            count += len(chunk)
        _tell(progress, file.path, count)
    if count < file.size:
        with partial.open("ab") as out:
            for chunk in blob_chunks(source, file, count):
                seen.update(chunk)
                count += len(chunk)
                if count > file.size:
                    break
                out.write(chunk)
                _tell(progress, file.path, len(chunk))
            out.flush()
            os.fsync(out.fileno())
    elif not file.size:
        partial.touch()
    if count != file.size or f"sha256:{seen.hexdigest()}" != file.digest:
        partial.unlink(missing_ok=True)
        what = (
            f"was changed: its bytes have the digest sha256:{seen.hexdigest()}"
            if count == file.size
            else f"has {'more than its ' if count > file.size else f'{count} bytes instead of '}{file.size}"
        )
        raise changed(file)(what)


def _changed_here(path: Path) -> Callable[[str], ReleaseError]:
    return lambda what: ReleaseError(Part.BLOB, str(path), f"{path} changed while it was read: it {what}")


def _watched(
    content: Iterable[bytes], path: str, progress: Callable[[str, int], None] | None
) -> Iterator[bytes]:
    for chunk in content:
        yield chunk
        _tell(progress, path, len(chunk))


def _tell(progress: Callable[[str, int], None] | None, path: str, count: int) -> None:
    if progress:
        progress(path, count)


def _of(error: ReleaseError, part: Part) -> ReleaseError:
    """The same error, about the part that was asked for; what the store itself says stays."""
    if error.part in {part, Part.STORE}:
        return error
    return ReleaseError(part, error.subject, str(error), missing=error.missing)
