"""Releases in a directory, in S3 and in a registry: the same stories in each."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import subprocess
import sys
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest
from innervate_releases import digests, keys, oci, s3, store, transfer
from innervate_releases.build import build
from innervate_releases.directory import DirectoryStore
from innervate_releases.errors import NotFoundError, Part, ReleaseError, StoreError
from innervate_releases.location import AUTHORITIES, open_store, parse
from innervate_releases.registry import IMAGE_MANIFEST
from innervate_releases.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from innervate_releases.store import Store

    from tests.contract.releases.conftest import Server

# The first run on a machine builds the two servers.
pytestmark = [pytest.mark.contract, pytest.mark.timeout(900)]

LARGE = 21 << 20
"""More than two parts of an upload, and no multiple of one."""


@pytest.fixture(params=["directory", "s3", "oci", "oci with tokens"])
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of the test's own."""
    place = f"t{zlib.crc32(request.node.name.encode()):x}"
    if request.param == "directory":
        return open_store((tmp_path / "store").as_uri())
    fixture = {"s3": "s3", "oci": "registry"}.get(request.param, "token_registry")
    server: Server = request.getfixturevalue(fixture)
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.password)
        return open_store(f"s3://models/{place}")
    monkeypatch.setenv(oci.LOGINS, login(server))
    return open_store(f"oci://{server.address}/models/{place}")


def login(server: Server, password: str = "") -> str:
    pair = base64.b64encode(f"{server.name}:{password or server.password}".encode()).decode()
    return json.dumps({"auths": {server.address: {"auth": pair}}})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "model.gguf").write_bytes(random.Random(7).randbytes(LARGE))
    (directory / "config.json").write_bytes(b"{}")
    (directory / "empty.txt").write_bytes(b"")
    return directory


def test_a_release_comes_back_as_it_went(target: Store, model: Path, tmp_path: Path) -> None:
    key = keys.load_private(keys.generate()[0], "test")
    trusted = {"team-a": key.public_key()}
    parent = transfer.push(model, build(model), target)
    transfer.sign(target, parent, key)
    (model / "config.json").write_bytes(b'{"layers": 2}')
    manifest = build(model, parents=[parent])
    digest = transfer.push(model, manifest, target)
    with pytest.raises(ReleaseError) as caught:
        verify(target, digest, trusted)
    assert (caught.value.part, caught.value.missing) == (Part.SIGNATURE, True)
    transfer.sign(target, digest, key)
    assert verify(target, digest, trusted).key == "team-a"
    transfer.fetch(target, digest, trusted, into=tmp_path / "fetched")
    for path in model.iterdir():
        assert (tmp_path / "fetched" / path.name).read_bytes() == path.read_bytes()
    # A second push, and a second signature, change nothing.
    assert transfer.push(model, manifest, target) == digest
    transfer.sign(target, digest, key)
    verify(target, digest, trusted)


def test_a_lineage_goes_along_without_its_files(target: Store, model: Path, tmp_path: Path) -> None:
    key = keys.load_private(keys.generate()[0], "test")
    home = DirectoryStore(tmp_path / "home")
    parent = transfer.push(model, build(model), home)
    transfer.sign(home, parent, key)
    (model / "model.gguf").write_bytes(b"GGUF")
    (model / "config.json").write_bytes(b'{"layers": 2}')
    (model / "empty.txt").unlink()
    transfer.copy_lineage(home, target, [parent])
    digest = transfer.push(model, build(model, parents=[parent]), target)
    transfer.sign(target, digest, key)
    verify(target, digest, {"team-a": key.public_key()})


def test_blobs_pass_in_pieces(target: Store, model: Path) -> None:
    """A pod that fetches has less memory than a model has bytes."""
    manifest = build(model)
    transfer.push(model, manifest, target)
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in target.read(store.blob(manifest.file("model.gguf").digest)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == LARGE
    assert most < LARGE // 2


def test_reads_go_on_from_where_they_stopped(target: Store, model: Path) -> None:
    manifest = build(model)
    transfer.push(model, manifest, target)
    whole = (model / "model.gguf").read_bytes()
    key = store.blob(manifest.file("model.gguf").digest)
    for offset in (0, 1, LARGE // 2, LARGE - 1):
        assert b"".join(target.read(key, offset)) == whole[offset:]
    assert target.size(key) == LARGE


@pytest.mark.parametrize("of", [store.blob, store.manifest, store.signature])
def test_what_is_not_there_is_told(target: Store, of: Callable[[str], store.Key]) -> None:
    key = of(digests.of_bytes(b"nothing"))
    assert target.size(key) is None
    with pytest.raises(NotFoundError) as caught:
        b"".join(target.read(key))
    assert caught.value.part is key.part


@pytest.mark.parametrize("size", [100, LARGE])
def test_a_broken_upload_leaves_nothing(target: Store, size: int) -> None:
    content = random.Random(size).randbytes(size)
    key = store.blob(digests.of_bytes(content))

    def broken() -> Iterator[bytes]:
        yield content[: size // 2]
        raise ReleaseError(Part.BLOB, "model.gguf", "model.gguf changed while it was read")

    with pytest.raises(ReleaseError):
        target.write(key, broken(), size)
    assert target.size(key) is None
    target.write(key, (content,), size)
    assert b"".join(target.read(key)) == content


@pytest.mark.parametrize("where", ["first", "last"])
def test_bytes_that_change_at_rest_are_found(
    target: Store, model: Path, tmp_path: Path, request: pytest.FixtureRequest, where: str
) -> None:
    key = keys.load_private(keys.generate()[0], "test")
    manifest = build(model)
    digest = transfer.push(model, manifest, target)
    transfer.sign(target, digest, key)
    path = resting(target, manifest.file("model.gguf").digest, tmp_path, request)
    with path.open("r+b") as file:
        at = 0 if where == "first" else LARGE - 1
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(ReleaseError) as caught:
        verify(target, digest, {"team-a": key.public_key()})
    assert (caught.value.part, caught.value.subject) == (Part.BLOB, "model.gguf")


def resting(target: Store, digest: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The file in which a store keeps a blob."""
    hexadecimal = digests.hexadecimal(digest)
    if isinstance(target, DirectoryStore):
        return tmp_path / "store" / store.blob(digest).path
    if isinstance(target, s3.S3Store):
        server: Server = request.getfixturevalue("s3")
        return server.root / parse(target.uri).path / store.blob(digest).path
    server = next(
        server
        for server in map(request.getfixturevalue, ("registry", "token_registry"))
        if server.address == parse(target.uri).host
    )
    blobs = server.root / "docker/registry/v2/blobs/sha256"
    return blobs / hexadecimal[:2] / hexadecimal / "data"


def test_s3_refuses_a_stranger(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.address)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    target = open_store("s3://models/a")
    with pytest.raises(StoreError) as caught:
        target.size(store.blob(digests.of_bytes(b"x")))
    assert "s3://models/a" in str(caught.value)
    with pytest.raises(StoreError):
        store.write_small(target, store.blob(digests.of_bytes(b"x")), b"x")
    assert not list(s3.root.glob("a/**"))


def test_a_bucket_that_is_not_there_is_told(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.password)
    with pytest.raises(StoreError, match="s3://others"):
        store.write_small(open_store("s3://others"), store.blob(digests.of_bytes(b"x")), b"x")


@pytest.mark.parametrize(
    ("uri", "entered"), [("s3://models/a", "manifest .* is not in"), ("hf://models/a", "hf://models/a")]
)
def test_a_store_of_a_private_authority_is_entered(
    uri: str, entered: str, private_s3: Server, model: Path, tmp_path: Path
) -> None:
    keys_path = tmp_path / "keys"
    keys_path.mkdir()
    (keys_path / "team").write_bytes(keys.generate()[1])
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": private_s3.address,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": private_s3.name,
        "AWS_SECRET_ACCESS_KEY": private_s3.password,
        "HF_ENDPOINT": private_s3.address,
    }
    digest = build(model).digest
    command = [sys.executable, "-m", "innervate_releases", "verify", f"--uri={uri}", f"--digest={digest}"]

    def verified(**more: str) -> str:
        done = subprocess.run(
            [*command, f"--keys={keys_path}"],
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    strange = verified()
    assert re.search("cannot be read|does not answer", strange), strange
    known = verified(**{AUTHORITIES: (tmp_path / "authority.crt").read_text()})
    assert re.search(entered, known), known
    assert not re.search("cannot be read|does not answer", known), known


@pytest.mark.parametrize("fixture", ["registry", "token_registry"])
def test_a_registry_refuses_a_stranger(
    fixture: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Server = request.getfixturevalue(fixture)
    for logins in (login(server, "wrong"), "{}"):
        monkeypatch.setenv(oci.LOGINS, logins)
        with pytest.raises(StoreError, match="401"):
            open_store(f"oci://{server.address}/models/a").size(store.blob(digests.of_bytes(b"x")))


def test_a_release_is_an_artifact_with_its_signature_as_referrer(
    registry: Server, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(oci.LOGINS, login(registry))
    target = open_store(f"oci://{registry.address}/models/artifact")
    assert isinstance(target, oci.RegistryStore)
    manifest = build(model)
    digest = transfer.push(model, manifest, target)
    transfer.sign(target, digest, keys.load_private(keys.generate()[0], "test"))
    tag = digest.replace(":", "-")
    content = target._registry.manifest(tag)
    assert content
    artifact = json.loads(content)
    assert artifact["artifactType"] == oci.RELEASE_TYPE
    assert artifact["config"] == {
        "mediaType": oci.MANIFEST_TYPE,
        "digest": digest,
        "size": len(manifest.canonical()),
    }
    assert {layer["digest"] for layer in artifact["layers"]} == {file.digest for file in manifest.files}
    signature = target._registry.manifest(f"{tag}.sig")
    assert signature
    assert json.loads(signature)["subject"] == {
        "mediaType": IMAGE_MANIFEST,
        "digest": digests.of_bytes(content),
        "size": len(content),
    }


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 of loopback: nobody listens, and nobody may.
    monkeypatch.setenv(oci.LOGINS, "{}")
    with pytest.raises(StoreError, match="does not answer"):
        open_store("oci://127.0.0.1:9/models/a").size(store.blob(digests.of_bytes(b"x")))
