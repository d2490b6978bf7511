"""`ChatClient` and `innervate chat` on the wire: an HTTPS server that keeps what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from innervate import ChatClient, Retry, errors
from innervate.cli import chat as command_module
from innervate.cli.output import Exit
from innervate.route import Direct
from memory_process import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Innervate

SERVER_NAME = "assistant-inferencepool.shop.svc"
COMPLETION = {
    "choices": [{"message": {"role": "assistant", "content": "Rome"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2},
}
HEADERS = {
    "x-innervate-request-id": "r-1",
    "x-innervate-release": "assistant-a",
    "x-innervate-arm": "stable",
}


@dataclass
class Reply:
    """One answer of the server."""

    status: int = 200
    body: Any = field(default_factory=lambda: COMPLETION)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Gateway:
    """What a server was asked, and what it answers: the replies in turn, the last one for ever."""

    port: int = 0
    asked: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    lists: list[str] = field(default_factory=list)

    def list_models(self, handler: BaseHTTPRequestHandler) -> None:
        self.lists.append(handler.path)
        send(handler, Reply(200, {"object": "list", "data": [{"id": "assistant"}]}))

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers["content-length"])
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append((headers, json.loads(handler.rfile.read(length))))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        send(handler, reply)


def send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    handler.send_response(reply.status)
    for name, value in {**HEADERS, **reply.headers, "content-length": str(len(content))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def gateway(authority: Authority, tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            gateway.list_models(self)

        def do_POST(self) -> None:
            gateway.answer(self)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    certificate = authority.issue(SERVER_NAME)
    (tmp_path / "tls.crt").write_bytes(certificate.chain)
    (tmp_path / "tls.key").write_bytes(certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    gateway.port = server.server_port
    yield gateway
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def route(gateway: Gateway, authority: Authority) -> Direct:
    endpoint = f"https://127.0.0.1:{gateway.port}"
    return Direct(endpoint, ca=authority.pem, token=lambda: "a-token", server_name=SERVER_NAME)


@pytest.fixture
def client(route: Direct) -> Iterator[ChatClient]:
    with ChatClient(route, retry=Retry(timeout=20, first_delay=0.01)) as client:
        yield client


def test_a_question_is_sent_as_openai_would_have_it_and_its_answer_says_who_gave_it(
    client: ChatClient, gateway: Gateway
) -> None:
    answer = client.chat(
        "Where does Ada live?", model="m", session="s-1", task="t", release="a", max_tokens=8, temperature=0.0
    )
    assert (answer.text, answer.request_id, answer.release, answer.arm) == (
        *("Rome", "r-1", "assistant-a", "stable"),
    )
    assert (answer.finish_reason, answer.input_tokens, answer.output_tokens) == ("stop", 9, 2)
    ((headers, body),) = gateway.asked
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "Where does Ada live?"}],
        "max_tokens": 8,
        "temperature": 0.0,
    }
    assert headers["host"] == SERVER_NAME
    assert headers["authorization"] == "Bearer a-token"
    named = ("session", "task", "release")
    assert [headers[f"x-innervate-{name}"] for name in named] == ["s-1", "t", "a"]


def test_what_is_left_out_is_not_sent(client: ChatClient, gateway: Gateway) -> None:
    client.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}])
    ((headers, body),) = gateway.asked
    assert body.keys() == {"messages", "model"}
    assert len(body["messages"]) == 2
    assert not [name for name in headers if name.startswith("x-innervate")]


def test_the_pools_own_model_is_asked_for_once(client: ChatClient, gateway: Gateway) -> None:
    client.chat("One?")
    client.chat("Two?")
    client.chat("Three?", model="another")
    assert [body["model"] for _, body in gateway.asked] == ["assistant", "assistant", "another"]
    assert gateway.lists == ["/v1/models"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_pool_that_is_too_busy_is_asked_again(client: ChatClient, gateway: Gateway, status: int) -> None:
    busy = Reply(status, {"error": {"message": "the queue is full"}}, {"retry-after": "0"})
    gateway.replies = [busy, busy, Reply()]
    assert client.chat("Hello").text == "Rome"
    assert len(gateway.asked) == 3


def test_a_refused_token_is_renewed_once(client: ChatClient, gateway: Gateway) -> None:
    gateway.replies = [Reply(401, {"error": {"message": "the token has expired"}})]
    with pytest.raises(errors.Unauthenticated, match="the token has expired"):
        client.chat("Hello")
    assert len(gateway.asked) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidArgument),
        (403, errors.PermissionDenied),
        (404, errors.NotFound),
        (413, errors.InvalidArgument),
        (502, errors.Unavailable),
        (504, errors.DeadlineExceeded),
        (500, errors.ServiceFailed),
    ],
)
def test_a_refusal_is_told_in_the_pools_words_and_never_repeated(
    client: ChatClient, gateway: Gateway, status: int, kind: type[errors.InnervateError]
) -> None:
    gateway.replies = [Reply(status, {"error": {"message": "that is wrong", "param": "messages"}})]
    with pytest.raises(kind, match="that is wrong") as caught:
        client.chat("Hello")
    assert caught.value.field == "messages"
    assert len(gateway.asked) == 1


@pytest.mark.parametrize("body", [b"<html>", {"choices": []}, {"error": "a text"}, []])
def test_an_answer_that_is_none_fails_with_what_it_was(
    client: ChatClient, gateway: Gateway, body: Any
) -> None:
    gateway.replies = [Reply(200, body)]
    with pytest.raises(errors.ServiceFailed, match=r"no chat completion|no JSON object"):
        client.chat("Hello")


def test_a_server_that_another_authority_certifies_is_not_talked_to(gateway: Gateway) -> None:
    route = Direct(
        f"https://127.0.0.1:{gateway.port}",
        ca=Authority().pem,
        token=lambda: "a-token",
        server_name=SERVER_NAME,
    )
    with (
        ChatClient(route, retry=Retry(timeout=0.5)) as client,
        pytest.raises(errors.Unavailable, match="certificate verify failed"),
    ):
        client.chat("Hello")
    assert not gateway.asked


def test_a_server_of_another_name_is_not_talked_to(gateway: Gateway, authority: Authority) -> None:
    route = Direct(f"https://127.0.0.1:{gateway.port}", ca=authority.pem, token=lambda: "a-token")
    with (
        ChatClient(route, retry=Retry(timeout=0.5)) as client,
        pytest.raises(errors.Unavailable, match="certificate verify failed"),
    ):
        client.chat("Hello")
    assert not gateway.asked


@pytest.fixture
def way(route: Direct, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the way through kubectl."""

    def direct(*_: object, **__: object) -> Direct:
        return route

    monkeypatch.setattr(command_module, "Forwarded", direct)


@pytest.mark.usefixtures("way")
def test_the_command_prints_the_answer_and_beside_it_who_gave_it(
    innervate: Innervate, gateway: Gateway
) -> None:
    done = innervate("chat", "assistant", "Where?", "--system", "Be brief.", "--session", "s")
    assert (done.returncode, done.stdout) == (Exit.OK, "Rome\n")
    assert done.stderr == "assistant-a (stable), request r-1\n"
    assert [each["role"] for each in gateway.asked[0][1]["messages"]] == ["system", "user"]
    told = json.loads(innervate("chat", "assistant", "Where?", "-o", "json").stdout)
    assert (told["text"], told["requestId"], told["outputTokens"]) == ("Rome", "r-1", 2)


@pytest.mark.usefixtures("way")
def test_the_command_reads_a_question_from_standard_input_and_hides_control_characters(
    innervate: Innervate, gateway: Gateway
) -> None:
    said = {"message": {"content": "a\x1b[2Jb"}}
    gateway.replies = [Reply(200, {"choices": [said]})]
    done = innervate("chat", "assistant", stdin="Where?\n")
    assert done.stdout == "a\N{REPLACEMENT CHARACTER}[2Jb\n"
    assert gateway.asked[0][1]["messages"][0]["content"] == "Where?"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("status", "code"), [(403, Exit.DENIED), (404, Exit.NOT_FOUND), (400, Exit.FAILED)])
def test_the_command_ends_with_the_code_of_what_went_wrong(
    innervate: Innervate, gateway: Gateway, status: int, code: Exit
) -> None:
    gateway.replies = [Reply(status, {"error": {"message": "no"}})]
    done = innervate("chat", "assistant", "Where?")
    assert done.returncode == code
    assert "no" in done.stderr


def test_an_answer_that_comes_too_late_is_no_answer(
    client: ChatClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer: Callable[[BaseHTTPRequestHandler], None] = gateway.answer
    over = threading.Event()

    def late(handler: BaseHTTPRequestHandler) -> None:
        over.wait(10)
        answer(handler)

    monkeypatch.setattr(gateway, "answer", late)
    client._retry = Retry(timeout=0.3)
    with pytest.raises(errors.DeadlineExceeded, match="did not answer in time"):
        client.chat("Hello")
    over.set()
