"""Any changed byte is refused, by the name of whose byte it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from innervate_releases import digests, keys, signing, store, transfer
from innervate_releases.build import build
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from innervate_releases.store import Key

    from tests.unit.releases.conftest import World

# Each example leaves the store as it found it.
examples = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
shares = st.floats(0, 1, exclude_max=True)
flips = st.integers(1, 255)


@contextmanager
def flipped(path: Path, share: float, mask: int) -> Iterator[None]:
    whole = path.read_bytes()
    at = int(share * len(whole))
    path.write_bytes(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])
    try:
        yield
    finally:
        path.write_bytes(whole)


def refused(world: World) -> ReleaseError:
    with pytest.raises(ReleaseError) as caught:
        verify(world.store, world.digest, world.trusted)
    return caught.value


def at(world: World, key: Key) -> Path:
    return world.root / key.path


def test_an_unchanged_release_is_verified(world: World) -> None:
    found = verify(world.store, world.digest, world.trusted)
    assert (found.digest, found.key) == (world.digest, "team-a")
    assert found.manifest == world.manifest


@examples
@given(share=shares, mask=flips, which=st.integers(0, 4))
def test_a_byte_of_a_file(world: World, share: float, mask: int, which: int) -> None:
    files = [file for file in world.manifest.files if file.size]
    file = files[which]
    with flipped(at(world, store.blob(file.digest)), share, mask):
        error = refused(world)
    assert (error.part, error.subject, error.missing) == (Part.BLOB, file.path, False)
    assert file.path in str(error)


@examples
@given(share=shares, mask=flips)
def test_a_byte_of_the_manifest(world: World, share: float, mask: int) -> None:
    with flipped(at(world, store.manifest(world.digest)), share, mask):
        error = refused(world)
    assert (error.part, error.subject) == (Part.MANIFEST, world.digest)
    assert world.digest in str(error)


@examples
@given(share=shares, mask=flips)
def test_a_byte_of_the_signature(world: World, share: float, mask: int) -> None:
    with flipped(at(world, store.signature(world.digest)), share, mask):
        error = refused(world)
    assert (error.part, error.subject) == (Part.SIGNATURE, world.digest)
    assert world.digest in str(error)


@examples
@given(share=shares, mask=flips, folder=st.sampled_from([store.manifest, store.signature]))
def test_a_byte_of_a_parent(world: World, share: float, mask: int, folder: type[Key]) -> None:
    with flipped(at(world, folder(world.parent)), share, mask):
        error = refused(world)
    assert (error.part, error.subject) == (Part.PARENT, world.parent)
    assert world.parent in str(error)


def test_a_parents_files_may_be_gone(world: World) -> None:
    parents = transfer.read_manifest(world.store, world.parent)
    own = {file.digest for file in world.manifest.files}
    for file in parents.files:
        if file.digest not in own:
            at(world, store.blob(file.digest)).unlink()
    verify(world.store, world.digest, world.trusted)


@pytest.mark.parametrize("change", [lambda whole: whole[:-1], lambda whole: whole + b"\0"])
@pytest.mark.parametrize("part", [Part.BLOB, Part.MANIFEST, Part.SIGNATURE, Part.PARENT])
def test_a_byte_less_or_more(world: World, part: Part, change: object) -> None:
    key = {
        Part.BLOB: store.blob(world.manifest.file("model.gguf").digest),
        Part.MANIFEST: store.manifest(world.digest),
        Part.SIGNATURE: store.signature(world.digest),
        Part.PARENT: store.signature(world.parent),
    }[part]
    path = at(world, key)
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]  # one of the two above
    assert refused(world).part is part


@pytest.mark.parametrize("part", [Part.BLOB, Part.MANIFEST, Part.SIGNATURE, Part.PARENT])
def test_what_is_missing_is_named(world: World, part: Part) -> None:
    key, subject = {
        Part.BLOB: (store.blob(world.manifest.file("model.gguf").digest), "model.gguf"),
        Part.MANIFEST: (store.manifest(world.digest), world.digest),
        Part.SIGNATURE: (store.signature(world.digest), world.digest),
        Part.PARENT: (store.manifest(world.parent), world.parent),
    }[part]
    at(world, key).unlink()
    error = refused(world)
    assert (error.part, error.subject, error.missing) == (part, subject, True)


def test_an_unknown_key_is_refused(world: World) -> None:
    stranger = keys.load_private(keys.generate()[0], "stranger")
    transfer.sign(world.store, world.digest, stranger)
    error = refused(world)
    assert error.part is Part.SIGNATURE
    assert keys.fingerprint(stranger.public_key()) in str(error)
    assert "team-a" in str(error)


def test_a_signature_of_another_release_is_refused(world: World) -> None:
    other = at(world, store.signature(world.parent)).read_bytes()
    at(world, store.signature(world.digest)).write_bytes(other)
    assert "signs something else" in str(refused(world))


def test_a_manifest_in_another_spelling_is_refused(world: World) -> None:
    # Its digest is right and its signature too: the spelling alone is wrong.
    content = world.manifest.canonical().replace(b'"parents":', b'"parents": ')
    digest = digests.of_bytes(content)
    store.write_small(world.store, store.manifest(digest), content)
    store.write_small(world.store, store.signature(digest), signing.sign(digest, world.private))
    with pytest.raises(ReleaseError, match="canonical") as caught:
        verify(world.store, digest, world.trusted)
    assert caught.value.part is Part.MANIFEST


@pytest.mark.parametrize("path", ["../escape", "/etc/passwd", "a/../b", ".hidden", "a//b", ""])
def test_a_manifest_cannot_name_a_path_elsewhere(world: World, path: str) -> None:
    content = world.manifest.canonical().replace(b'"config.json"', f'"{path}"'.encode())
    digest = digests.of_bytes(content)
    store.write_small(world.store, store.manifest(digest), content)
    store.write_small(world.store, store.signature(digest), signing.sign(digest, world.private))
    with pytest.raises(ReleaseError, match="path") as caught:
        verify(world.store, digest, world.trusted)
    assert caught.value.part is Part.MANIFEST


def test_signing_twice_changes_nothing(world: World) -> None:
    path = at(world, store.signature(world.digest))
    before = path.read_bytes()
    transfer.sign(world.store, world.digest, world.private)
    assert path.read_bytes() == before


def test_a_changed_manifest_is_not_signed(world: World) -> None:
    with flipped(at(world, store.manifest(world.digest)), 0.5, 1), pytest.raises(ReleaseError) as caught:
        transfer.sign(world.store, world.digest, world.private)
    assert caught.value.part is Part.MANIFEST


def test_ancestors_of_ancestors_count(world: World) -> None:
    manifest = build(world.directory, parents=[world.digest])
    digest = transfer.push(world.directory, manifest, world.store)
    transfer.sign(world.store, digest, world.private)
    verify(world.store, digest, world.trusted)
    with (
        flipped(at(world, store.signature(world.parent)), 0.5, 1),
        pytest.raises(ReleaseError) as caught,
    ):
        verify(world.store, digest, world.trusted)
    assert (caught.value.part, caught.value.subject) == (Part.PARENT, world.parent)
