"""Pages of running pods, read from a real HTTP server: bounded, and never more than told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from innervate_kinds.api.kind import Kind, Reference
from innervate_kinds.api.reader import HttpProbe
from innervate_operator.clock import SystemClock
from innervate_operator.prober import Prober

KEY = Reference(Kind("innervate.dev", "v1alpha1", "Gadget", "gadgets"), "shop", "g")


class Pod:
    """Answers with what it was told to; notes the headers of who asked."""

    def __init__(self):
        self.body = b'{"step": 7}'
        self.status = 200
        self.headers = {}
        self.asked = []

    async def answer(self, request):
        self.asked.append(request.headers)
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    async def endless(self, request):
        self.asked.append(request.headers)
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 4096)


@pytest.fixture
async def pod():
    made = Pod()
    application = web.Application()
    application.add_routes([web.get("/progress", made.answer), web.get("/endless", made.endless)])
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


@pytest.fixture
async def prober(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    woken = []
    made = Prober(
        SystemClock(), authorities=lambda: "", token_file=Path(tmp_path / "token"), wake=woken.append
    )
    made.woken = woken
    yield made
    await made.close()


def probe(pod, path="/progress", interval=0.02):
    return HttpProbe(
        name="progress",
        address="127.0.0.1",
        port=pod.port,
        path=path,
        decode=lambda page: {"step": page["step"]},
        interval_seconds=interval,
    )


async def until(check):
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.01)


async def test_a_page_is_decoded_and_our_token_kept_to_ourselves(pod, prober):
    result = await prober.ask(probe(pod))
    assert (result.value, result.code) == ({"step": 7}, "")
    assert "Authorization" not in pod.asked[0]
    assert "Cookie" not in pod.asked[0]


async def test_the_resource_is_woken_only_when_the_page_differs(pod, prober):
    prober.set(KEY, [probe(pod)])
    await until(lambda: len(pod.asked) > 5)
    assert prober.woken == [KEY]
    pod.body = b'{"step": 8}'
    await until(lambda: len(prober.woken) == 2)
    assert prober.results(KEY)["progress"].value == {"step": 8}
    prober.stop(KEY)
    assert prober.results(KEY) == {}


async def test_a_number_that_is_none_counts_as_missing(pod, prober):
    pod.body = b'{"step": NaN}'
    assert (await prober.ask(probe(pod))).value == {"step": None}


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"step 7", "UNKNOWN", "no JSON"),
        (b"[7]", "UNKNOWN", "no JSON object"),
        (b"\xff\xfe", "UNKNOWN", "no JSON"),
        (b"[" * 60_000, "UNKNOWN", "no JSON"),
        (b'{"other": 1}', "UNKNOWN", "step"),
        (b" " * 70_000, "RESOURCE_EXHAUSTED", "more than 65536 bytes"),
    ],
)
async def test_a_page_that_is_not_as_agreed_is_a_failure(pod, prober, body, code, words):
    pod.body = body
    result = await prober.ask(probe(pod))
    assert (result.value, result.code) == (None, code)
    assert words in result.message


async def test_a_page_without_end_is_left(pod, prober):
    result = await prober.ask(probe(pod, path="/endless"))
    assert (result.value, result.code) == (None, "RESOURCE_EXHAUSTED")


async def test_a_page_that_leads_elsewhere_is_not_followed(pod, prober):
    pod.status, pod.headers = 302, {"Location": f"http://127.0.0.1:{pod.port}/endless"}
    result = await prober.ask(probe(pod))
    assert (result.code, len(pod.asked)) == ("UNAVAILABLE", 1)
    assert "status 302" in result.message


async def test_nobody_there_is_an_answer_too(prober):
    nobody = HttpProbe(name="progress", address="::1", port=1, path="/progress", decode=dict)
    result = await prober.ask(nobody)
    assert (result.value, result.code) == (None, "UNAVAILABLE")
    assert "http://[::1]:1/progress" in result.message


async def test_a_pod_that_says_nothing_is_not_waited_for_long(prober):
    ended = asyncio.Event()

    async def hold(_reader, writer):
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    silent = Pod()
    silent.port = server.sockets[0].getsockname()[1]
    prober._pages._timeout_seconds = 0.2
    try:
        result = await prober.ask(probe(silent))
    finally:
        ended.set()
        server.close()
        await server.wait_closed()
    assert (result.value, result.code) == (None, "DEADLINE_EXCEEDED")
