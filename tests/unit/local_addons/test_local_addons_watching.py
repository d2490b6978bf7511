"""Following objects survives what API servers do: broken watches, forgotten versions, errors."""

import json
import ssl
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from innervate_local.addons.watching import Access, Watched, access
from innervate_local.certificates import Authority, kubeconfig


def _item(name, version):
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": version}}


def _event(kind, item):
    return {"type": kind, "object": item}


@pytest.fixture
def server(tmp_path):
    """An HTTPS server that answers each request with the next prepared answer, then keeps the line open."""
    answers, asked, ended = deque(), [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_GET(self):
            asked.append({key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()})
            if not answers:
                ended.wait(20)
                return
            status, lines = answers.popleft()
            self.send_response(status)
            self.end_headers()
            for line in lines:
                self.wfile.write(json.dumps(line).encode() + b"\n")

        def log_message(self, *_):
            pass

    authority = Authority("test")
    certificate, key = authority.issue("server", addresses=["127.0.0.1"]).write(tmp_path, "server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.socket = tls.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    file = tmp_path / "kubeconfig"
    file.write_text(
        kubeconfig(
            cluster="test",
            url=f"https://127.0.0.1:{http.server_port}",
            root=authority.root.certificate,
            user="me",
            identity=authority.issue("me"),
        )
    )
    yield answers, asked, file
    ended.set()
    http.shutdown()
    thread.join()
    http.server_close()


def _follow(file, names):
    watched = Watched(access(file), "/api/v1/things", threading.Event())
    watched.start()
    deadline = time.monotonic() + 20
    while (found := {each["metadata"]["name"] for each in watched.objects()}) != names:
        assert time.monotonic() < deadline, found
        time.sleep(0.01)


def test_a_watch_goes_on_where_the_last_one_ended(server):
    answers, asked, file = server
    answers.append(
        (200, [{"metadata": {"resourceVersion": "5"}, "items": [_item("a", "4"), _item("b", "5")]}])
    )
    answers.append((200, [_event("ADDED", _item("c", "6")), _event("BOOKMARK", _item("", "9"))]))
    answers.append((200, [_event("DELETED", _item("a", "10"))]))
    _follow(file, {"b", "c"})
    assert [each.get("resourceVersion") for each in asked[:3]] == [None, "5", "9"]


def test_a_forgotten_version_and_an_error_lead_to_a_new_list(server):
    answers, _, file = server
    answers.append((200, [{"metadata": {"resourceVersion": "5"}, "items": [_item("a", "4")]}]))
    answers.append((200, [_event("ERROR", {"code": 410, "message": "too old resource version"})]))
    answers.append((503, []))
    answers.append((200, [{"metadata": {"resourceVersion": "20"}, "items": [_item("z", "19")]}]))
    _follow(file, {"z"})


def test_a_kubeconfig_leaves_no_key_behind(server):
    _, _, file = server
    found = access(file)
    assert isinstance(found, Access)
    assert [path.name for path in file.parent.iterdir() if "identity" in path.name] == []
