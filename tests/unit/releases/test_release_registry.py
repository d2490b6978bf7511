"""A registry that sends more than it should."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from innervate_releases.errors import StoreError
from innervate_releases.location import open_store
from innervate_releases.oci import LOGINS
from innervate_releases.store import Folder, Key

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = "sha256:" + "0" * 64
MIB = b" " * (1 << 20)
SENT_MIB = 4096


class Endless(BaseHTTPRequestHandler):
    """Answers with more than fits anywhere, until nobody reads it any more."""

    status = 200
    sent = 0

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", str(SENT_MIB << 20))
        self.end_headers()
        try:
            for _ in range(SENT_MIB):
                self.wfile.write(MIB)
                Endless.sent += 1
        except OSError:
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv(LOGINS, "{}")
    monkeypatch.setattr(Endless, "sent", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"oci://127.0.0.1:{server.server_port}/models/a"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "wrong"), [(200, "is larger than 4194304 bytes"), (500, "refuses: 500")])
def test_no_more_of_an_answer_is_read_than_one_can_have(
    registry: str, monkeypatch: pytest.MonkeyPatch, status: int, wrong: str
) -> None:
    monkeypatch.setattr(Endless, "status", status)
    with pytest.raises(StoreError, match=wrong):
        open_store(registry).size(Key(Folder.MANIFESTS, DIGEST))
    assert Endless.sent < SENT_MIB
