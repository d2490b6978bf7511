"""Pushing, fetching and receiving: whole or not at all, and again from where it stopped."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from innervate_releases import digests, receiving, store, transfer
from innervate_releases.build import build
from innervate_releases.directory import DirectoryStore
from innervate_releases.errors import Part, ReleaseError, StoreError
from innervate_releases.location import open_store, parse
from innervate_releases.manifest import Manifest
from innervate_releases.verify import verify

from tests.unit.releases.conftest import FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from innervate_releases.store import Key

    from tests.unit.releases.conftest import World


class Broken(DirectoryStore):
    """Breaks off after some bytes, until it is mended."""

    def __init__(self, root: Path, after: int) -> None:
        super().__init__(root)
        self.after: int | None = after
        self.reads: list[int] = []

    def read(self, key: Key, offset: int = 0) -> Iterator[bytes]:
        self.reads.append(offset)
        whole = b"".join(super().read(key, offset))
        if key.folder is store.Folder.BLOBS and self.after is not None:
            yield whole[: self.after]
            raise StoreError(self.uri, "the line broke")
        yield whole

    def write(self, key: Key, content: Iterable[bytes], size: int) -> None:
        def cut() -> Iterator[bytes]:
            for chunk in content:
                if self.after is not None and key.folder is store.Folder.BLOBS:
                    yield chunk[: self.after]
                    raise StoreError(self.uri, "the line broke")
                yield chunk

        super().write(key, cut(), size)


def written(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_fetches_all_files(world: World, tmp_path: Path) -> None:
    into = tmp_path / "fetched"
    assert transfer.fetch(world.store, world.digest, world.trusted, into=into) == world.manifest
    assert written(into) == FILES


def test_fetches_one_file(world: World, tmp_path: Path) -> None:
    into = tmp_path / "fetched"
    transfer.fetch(world.store, world.digest, world.trusted, into=into, files=["model.gguf"])
    assert written(into) == {"model.gguf": FILES["model.gguf"]}


def test_a_wrong_file_never_gets_its_name(world: World, tmp_path: Path) -> None:
    into = tmp_path / "fetched"
    path = world.root / store.blob(world.manifest.file("model.gguf").digest).path
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(ReleaseError) as caught:
        transfer.fetch(world.store, world.digest, world.trusted, into=into, files=["model.gguf"])
    assert (caught.value.part, caught.value.subject) == (Part.BLOB, "model.gguf")
    assert written(into) == {}


def test_a_broken_download_goes_on_where_it_stopped(world: World, tmp_path: Path) -> None:
    into, broken = tmp_path / "fetched", Broken(world.root, after=100)
    with pytest.raises(StoreError):
        transfer.fetch(broken, world.digest, world.trusted, into=into, files=["model.gguf"])
    assert not (into / "model.gguf").exists()
    broken.after, broken.reads = None, []
    transfer.fetch(broken, world.digest, world.trusted, into=into, files=["model.gguf"])
    assert 100 in broken.reads
    assert written(into) == {"model.gguf": FILES["model.gguf"]}


def test_a_spoiled_rest_of_a_download_is_not_built_upon(world: World, tmp_path: Path) -> None:
    into, broken = tmp_path / "fetched", Broken(world.root, after=100)
    with pytest.raises(StoreError):
        transfer.fetch(broken, world.digest, world.trusted, into=into, files=["model.gguf"])
    (rest,) = into.iterdir()
    rest.write_bytes(b"?" * 100)
    with pytest.raises(ReleaseError) as caught:
        transfer.fetch(world.store, world.digest, world.trusted, into=into, files=["model.gguf"])
    assert caught.value.part is Part.BLOB
    transfer.fetch(world.store, world.digest, world.trusted, into=into, files=["model.gguf"])
    assert written(into) == {"model.gguf": FILES["model.gguf"]}


def test_a_right_file_is_kept_and_a_wrong_one_replaced(world: World, tmp_path: Path) -> None:
    into = tmp_path / "fetched"
    transfer.fetch(world.store, world.digest, world.trusted, into=into)
    kept = (into / "model.safetensors").stat().st_ino
    (into / "model.gguf").write_bytes(b"something else")
    transfer.fetch(world.store, world.digest, world.trusted, into=into)
    assert (into / "model.safetensors").stat().st_ino == kept
    assert written(into) == FILES


def test_a_file_that_the_release_lacks_is_named(world: World, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"no file 'weights.bin'; it has .*model.gguf"):
        transfer.fetch(world.store, world.digest, world.trusted, into=tmp_path, files=["weights.bin"])


def test_a_broken_push_leaves_no_release(directory: Path, tmp_path: Path) -> None:
    broken = Broken(tmp_path / "store", after=10)
    manifest = build(directory)
    with pytest.raises(StoreError):
        transfer.push(directory, manifest, broken)
    assert broken.size(store.manifest(manifest.digest)) is None
    assert written(tmp_path / "store") == {}
    broken.after = None
    assert transfer.push(directory, manifest, broken) == manifest.digest
    transfer.read_manifest(broken, manifest.digest)


def test_what_is_there_is_not_sent_again(world: World) -> None:
    blob = world.root / store.blob(world.manifest.file("model.gguf").digest).path
    before = blob.stat().st_ino
    told: list[tuple[str, int]] = []
    transfer.push(world.directory, world.manifest, world.store, progress=lambda *each: told.append(each))
    assert blob.stat().st_ino == before
    assert sum(count for _, count in told) == world.manifest.size


def test_damage_is_repaired_on_demand(world: World) -> None:
    blob = world.root / store.blob(world.manifest.file("model.gguf").digest).path
    blob.write_bytes(b"!" * blob.stat().st_size)
    transfer.push(world.directory, world.manifest, world.store)
    with pytest.raises(ReleaseError):
        verify(world.store, world.digest, world.trusted)
    transfer.push(world.directory, world.manifest, world.store, again=True)
    verify(world.store, world.digest, world.trusted)


def test_a_file_that_changes_meanwhile_is_refused(directory: Path, tmp_path: Path) -> None:
    manifest = build(directory)
    (directory / "config.json").write_bytes(b'{"layers": 3}')
    target = DirectoryStore(tmp_path / "store")
    with pytest.raises(ReleaseError, match=r"config.json changed while it was read"):
        transfer.push(directory, manifest, target)
    assert target.size(store.manifest(manifest.digest)) is None
    assert target.size(store.blob(manifest.file("config.json").digest)) is None


def test_a_lineage_is_copied_without_files(world: World, tmp_path: Path) -> None:
    target = DirectoryStore(tmp_path / "other")
    transfer.copy_lineage(world.store, target, [world.digest])
    manifest = build(world.directory, parents=[world.digest])
    digest = transfer.push(world.directory, manifest, target)
    transfer.sign(target, digest, world.private)
    verify(target, digest, world.trusted)


def stream(world: World) -> bytes:
    out = io.BytesIO()
    objects = [store.blob(file.digest) for file in world.manifest.files if file.size]
    objects += [store.manifest(world.digest), store.signature(world.digest)]
    receiving.send(out, ((key, world.store.size(key) or 0, world.store.read(key)) for key in objects))
    return out.getvalue()


def test_a_stream_is_received(world: World, tmp_path: Path) -> None:
    target = DirectoryStore(tmp_path / "received")
    assert receiving.receive(target, io.BytesIO(stream(world))) == 7
    for key in (store.manifest(world.digest), store.signature(world.digest)):
        assert b"".join(target.read(key)) == b"".join(world.store.read(key))


def test_a_spoiled_stream_is_refused(world: World, tmp_path: Path) -> None:
    content = stream(world).replace(FILES["model.gguf"], FILES["model.gguf"][:-1] + b"!")
    target = DirectoryStore(tmp_path / "received")
    with pytest.raises(ReleaseError, match="spoiled on its way"):
        receiving.receive(target, io.BytesIO(content))
    assert target.size(store.blob(world.manifest.file("model.gguf").digest)) is None


def test_a_stream_that_breaks_off_leaves_nothing_half(world: World, tmp_path: Path) -> None:
    content = stream(world)
    target = DirectoryStore(tmp_path / "received")
    with pytest.raises(ReleaseError):
        receiving.receive(target, io.BytesIO(content[: len(content) // 2]))
    for path in (tmp_path / "received").rglob("*"):
        assert path.is_dir() or digests.of_file(path)[0].endswith(path.name)


@pytest.mark.parametrize("path", ["../escape", "blobs/sha256/short", "/blobs/sha256/" + "0" * 64, "other"])
def test_a_stream_reaches_only_the_store(path: str) -> None:
    with pytest.raises(ReleaseError, match="no path of a release store"):
        receiving.key(path)


def test_missing_are_those_of_another_size_too(world: World) -> None:
    there, other = store.manifest(world.digest), store.blob(digests.of_bytes(b"elsewhere"))
    size = world.store.size(there)
    asked = [(there.path, size), (there.path, 1), (other.path, 9)]
    assert receiving.missing(world.store, asked) == [there.path, other.path]


@pytest.mark.parametrize(
    "uri",
    ["models", "http://models", "pvc://", "oci://registry", "file://host/path", "pvc://a/../b", "s3://a b"],
)
def test_a_wrong_address_is_explained(uri: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(uri)
    assert repr(uri) in str(caught.value)


def test_addresses_are_taken_apart(tmp_path: Path) -> None:
    assert parse("s3://bucket/a/b/") == ("s3", "bucket", "a/b")
    assert parse("oci://localhost:5000/models/a") == ("oci", "localhost:5000", "models/a")
    (tmp_path / "claim").mkdir()
    opened = open_store("pvc://claim/sub", mounts=tmp_path)
    store.write_small(opened, store.blob(digests.of_bytes(b"x")), b"x")
    assert (tmp_path / "claim/sub" / store.blob(digests.of_bytes(b"x")).path).read_bytes() == b"x"
    with pytest.raises(StoreError, match="not mounted"):
        open_store("pvc://other", mounts=tmp_path)


def test_hidden_files_are_left_out_and_odd_ones_refused(directory: Path) -> None:
    (directory / ".git").mkdir()
    (directory / ".git/config").write_bytes(b"hidden")
    assert sorted(FILES) == [file.path for file in build(directory).files]
    (directory / "what?.bin").write_bytes(b"odd")
    with pytest.raises(ReleaseError, match=r"what\?.bin"):
        build(directory)


def test_a_manifest_has_one_digest_whatever_the_order(directory: Path) -> None:
    one = build(directory, hyperparameters={"a": "1", "b": "2"})
    other = build(directory, hyperparameters={"b": "2", "a": "1"})
    assert one.digest == other.digest
    assert Manifest.model_validate_json(one.canonical()) == one
