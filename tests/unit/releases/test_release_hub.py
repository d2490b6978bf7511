"""Releases in a repository of a model hub, as a hub serves it: large files elsewhere, by a redirect."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

import pytest
from innervate_releases import hub, transfer
from innervate_releases.errors import NotFoundError, Part, ReleaseError, StoreError
from innervate_releases.location import open_store
from innervate_releases.store import blob, write_small

from tests.unit.releases.conftest import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.releases.conftest import World

TOKEN = "hf_reader"
RESOLVED = "/lab/tiny/resolve/v1/releases/"


class Hub(BaseHTTPRequestHandler):
    """Serves a directory as a repository, and blobs from another host."""

    root: ClassVar[Path]
    storage: ClassVar[str]
    """Address of that other host; empty on that host itself."""
    tokens: ClassVar[list[str]]
    """What the other host was shown."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/cdn/"):
            self.tokens.append(self.headers.get("authorization", ""))
            self._send((self.root / path.removeprefix("/cdn/")).read_bytes(), body=body)
            return
        file = self.root / path.removeprefix(RESOLVED)
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self._end(401)
        elif not path.startswith(RESOLVED) or not file.is_file():
            self._end(404)
        elif "/blobs/" in path:
            self.send_response(302)
            self.send_header("location", f"{self.storage}/cdn/{path.removeprefix(RESOLVED)}")
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self._send(file.read_bytes(), body=body)

    def _send(self, content: bytes, *, body: bool) -> None:
        asked = self.headers.get("range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("content-length", str(len(content) - start))
        self.end_headers()
        if body:
            self.wfile.write(content[start:])

    def _end(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server,
        ThreadingHTTPServer(("127.0.0.1", 0), Hub) as storage,
    ):
        monkeypatch.setattr(Hub, "root", world.root, raising=False)
        monkeypatch.setattr(Hub, "storage", f"http://localhost:{storage.server_port}", raising=False)
        monkeypatch.setattr(Hub, "tokens", [], raising=False)
        monkeypatch.setenv(hub.ENDPOINT, f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv(hub.TOKEN, TOKEN)
        threads = [threading.Thread(target=each.serve_forever) for each in (server, storage)]
        for thread in threads:
            thread.start()
        yield "hf://lab/tiny@v1/releases"
        for each in (server, storage):
            each.shutdown()
        for thread in threads:
            thread.join()


def test_a_release_comes_from_a_hub_whole(world: World, repository: str, tmp_path: Path) -> None:
    into = tmp_path / "into"
    transfer.fetch(open_store(repository), world.digest, world.trusted, into=into)
    assert {path.name: path.read_bytes() for path in into.iterdir()} == FILES
    assert set(Hub.tokens) == {""}, "the hub's token was shown to another host"


def test_what_a_hub_changed_is_refused(world: World, repository: str, tmp_path: Path) -> None:
    changed = world.root / blob(world.manifest.file("config.json").digest).path
    changed.chmod(0o644)
    changed.write_bytes(b'{"layers": 3}')
    with pytest.raises(ReleaseError) as refused:
        transfer.fetch(open_store(repository), world.digest, world.trusted, into=tmp_path / "into")
    assert (refused.value.part, refused.value.subject) == (Part.BLOB, "config.json")


def test_a_piece_is_read_from_its_offset(world: World, repository: str) -> None:
    key = blob(world.manifest.file("model.safetensors").digest)
    store = open_store(repository)
    assert b"".join(store.read(key, 1000)) == FILES["model.safetensors"][1000:]
    assert store.size(key) == len(FILES["model.safetensors"])


def test_what_is_not_there_is_missing(repository: str) -> None:
    key = blob("sha256:" + "0" * 64)
    store = open_store(repository)
    assert store.size(key) is None
    with pytest.raises(NotFoundError):
        list(store.read(key))


def test_a_hub_that_refuses_is_a_store_that_refuses(
    world: World, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(hub.TOKEN, "another")
    with pytest.raises(StoreError, match="refuses: 401 Unauthorized"):
        open_store(repository).size(blob(world.digest))


def test_nothing_is_written_to_a_hub(repository: str) -> None:
    with pytest.raises(StoreError, match="is read only"):
        write_small(open_store(repository), blob("sha256:" + "0" * 64), b"x")


@pytest.mark.parametrize("uri", ["hf://lab", "hf://lab/", "hf://lab/@main"])
def test_an_address_without_a_repository_is_refused(uri: str) -> None:
    with pytest.raises(StoreError, match="hf://organisation/name"):
        open_store(uri)
