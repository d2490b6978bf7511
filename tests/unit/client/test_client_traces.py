"""A trace store's answer becomes a tree and a picture."""

from __future__ import annotations

import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from innervate import InvalidArgument, NotFound, Unavailable, jaeger
from innervate.cli import waterfall
from redis_process import free_port
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = "0af7651916cd43dd8448eb211c80319c"


def span(
    number: int, parent: int | None, service: str, start: int, length: int, **tags: Any
) -> dict[str, Any]:
    references = (
        [] if parent is None else [{"refType": "CHILD_OF", "traceID": ID, "spanID": f"{parent:016x}"}]
    )
    return {
        "traceID": ID,
        "spanID": f"{number:016x}",
        "operationName": f"operation-{number}",
        "references": references,
        "startTime": 1_700_000_000_000_000 + start,
        "duration": length,
        "tags": [
            {"key": key.replace("__", "."), "type": "string", "value": value} for key, value in tags.items()
        ],
        "processID": service,
    }


ANSWER = {
    "traceID": ID,
    "spans": [
        span(3, 2, "redis", 300, 400, error=True, otel__status_description="READONLY"),
        span(2, 1, "memory", 100, 800),
        span(1, None, "client", 0, 1000),
        span(4, 1, "memory", 900, 50),
    ],
    "processes": {name: {"serviceName": name} for name in ("client", "memory", "redis")},
}


@pytest.fixture
def trace() -> jaeger.Trace:
    return jaeger.parse(ANSWER)


def test_spans_form_a_tree_in_order_of_time(trace: jaeger.Trace) -> None:
    assert [(each.operation, depth) for each, depth, _ in trace.walk()] == [
        ("operation-1", 0),
        ("operation-2", 1),
        ("operation-3", 2),
        ("operation-4", 1),
    ]
    assert trace.duration_us == 1000


def test_of_many_that_do_the_same_the_first_and_the_failed_ones_are_shown() -> None:
    asked = [
        {
            **span(number, 1, "client", number, 5, **({"error": True} if number == 30 else {})),
            "operationName": "ask",
        }
        for number in range(10, 50)
    ]
    answered = [span(100 + number, number, "memory", number + 1, 2) for number in range(10, 50)]
    many = jaeger.parse({**ANSWER, "spans": [span(1, None, "client", 0, 100), *asked, *answered]})
    lines = drawn(many, 100)
    # A title, a header, the root, eight with what is below them, the failed one with the same.
    assert len(lines) == 3 + 2 * 8 + 2
    assert [line for line in lines if "more" in line] == [
        line for line in lines if "ask (and 31 more)" in line
    ]
    assert len([line for line in lines if "more" in line]) == 1
    assert len(drawn(many, 100, whole=True)) == 3 + 2 * 40


def test_a_span_whose_parent_got_lost_is_shown_all_the_same() -> None:
    lost = {**ANSWER, "spans": [span(9, 8, "client", 0, 5)]}
    assert [depth for _, depth, _ in jaeger.parse(lost).walk()] == [0]


def drawn(trace: jaeger.Trace, width: int, *, whole: bool = False) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(waterfall.render(trace, console.width, whole=whole))
    return console.file.getvalue().splitlines()


def test_the_picture_shows_who_when_how_long_and_what_failed(trace: jaeger.Trace) -> None:
    title, header, client, memory, redis, _, reason = drawn(trace, 110)
    assert title == f"trace {ID}  4 spans, 3 services, 1 ms, 1 failed"
    assert header.split() == ["service", "operation", "time"]
    assert client.split()[:4] == ["client", "operation-1", "1", "ms"]
    assert "└ operation-2" in memory
    assert "  └ operation-3" in redis
    assert "400 µs" in redis
    whole = client.count("█")
    assert whole == 110 - len("service") - len("  └ operation-3") - 11
    assert redis.index("█") - client.index("█") == int(0.3 * whole)
    assert reason == "✗ redis operation-3: READONLY"


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_the_picture_fits_the_terminal(width: int) -> None:
    spans = [span(n, n - 1 or None, "a-service-with-a-long-name" * 2, n, 9 - n) for n in range(1, 9)]
    processes = {each["processID"]: {"serviceName": each["processID"]} for each in spans}
    lines = drawn(jaeger.parse({"traceID": ID, "spans": spans, "processes": processes}), width)
    assert max(map(len, lines)) <= max(width, 62)
    assert all("…" in line for line in lines[-8:])


def test_bars_stay_within_their_line() -> None:
    for offset in range(0, 1001, 7):
        for length in (0, 1, 500, 1001 - offset):
            bar = waterfall._bar(offset, length, 1000, 20)
            assert 0 < len(bar) <= 20
            assert bar.strip()


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [
        (0, "0 µs"),
        (999, "999 µs"),
        (1500, "1.5 ms"),
        (999_499, "999 ms"),
        (999_900, "1 s"),
        (2_345_678, "2.35 s"),
    ],
)
def test_durations_read_well(microseconds: int, text: str) -> None:
    assert waterfall.duration(microseconds) == text


@pytest.mark.parametrize("text", [ID, ID.upper(), f"00-{ID}-00f067aa0ba902b7-01"])
def test_a_trace_is_named_by_id_or_traceparent(text: str) -> None:
    assert jaeger.trace_id(text) == ID


@pytest.mark.parametrize("text", ["", "xyz", ID[:-1], f"00-{ID}"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        jaeger.trace_id(text)


class _Query(BaseHTTPRequestHandler):
    """Jaeger's answers, the first being that the trace is not there yet."""

    answers: list[tuple[int, object]]

    def do_GET(self) -> None:
        code, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments: object) -> None:
        """Nothing: the test tells."""


@pytest.fixture
def query() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), type("Query", (_Query,), {}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server: HTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_a_trace_that_is_late_is_waited_for(query: HTTPServer) -> None:
    query.RequestHandlerClass.answers = [
        (404, {"errors": []}),
        (200, {"data": []}),
        (200, {"data": [ANSWER]}),
    ]
    assert jaeger.fetch(url(query), ID, wait_s=30).id == ID


def test_a_young_trace_is_given_time_to_be_whole(query: HTTPServer) -> None:
    now = time.time_ns() // 1000
    young = [{**each, "startTime": now + each["startTime"] % 1000} for each in ANSWER["spans"]]
    query.RequestHandlerClass.answers = [
        (200, {"data": [{**ANSWER, "spans": young[2:3]}]}),
        (200, {"data": [{**ANSWER, "spans": young}]}),
    ]
    assert len(jaeger.fetch(url(query), ID, wait_s=30).spans) == len(young)


def test_a_trace_that_never_comes_is_told(query: HTTPServer) -> None:
    query.RequestHandlerClass.answers = [(404, {})]
    with pytest.raises(NotFound, match=ID):
        jaeger.fetch(url(query), ID, wait_s=0)


def test_a_store_in_trouble_is_told(query: HTTPServer) -> None:
    query.RequestHandlerClass.answers = [(500, "out of memory")]
    with pytest.raises(Unavailable, match="out of memory"):
        jaeger.fetch(url(query), ID, wait_s=30)


def test_a_store_that_does_not_answer_is_told() -> None:
    with pytest.raises(Unavailable):
        jaeger.fetch(f"http://127.0.0.1:{free_port()}", ID, wait_s=30)
