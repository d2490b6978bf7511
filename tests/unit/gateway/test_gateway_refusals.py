"""Everything that a caller can do wrong: a clear answer, and nothing of it reaches an engine or the log."""

import asyncio
import json

import pytest
from eventually import eventually
from gateway_engine import Engine
from gateway_process import CHAT, RunningGateway, chat, read_reply
from innervate_api.exchange.v1 import exchange_pb2 as pb
from memory_process import Cluster


async def nothing_happened(gateway: RunningGateway) -> None:
    assert gateway.engine.asked == []
    assert gateway.gateway.core.buffered == 0
    async with gateway.stub() as stub:
        page = await stub.List(pb.ListRequest(), metadata=gateway.cluster.metadata())
    assert not page.exchanges


async def test_wrong_requests_are_told_what_is_wrong(start):
    async with start() as gateway:
        long = "x" * 257
        cases = [
            (gateway.ask(body=b'{"model": "tiny",]'), 400, "invalid_json", "offset 17"),
            (gateway.ask(body=b"[" * 100_000), 400, "invalid_json", "offset"),
            (gateway.ask(body=b"\xff\xfe"), 400, "invalid_json", "offset"),
            (gateway.ask(body=b""), 400, "invalid_json", "offset 0"),
            (gateway.ask([1]), 400, "invalid_json", "object"),
            (gateway.ask({"messages": []}), 400, "model_missing", "/v1/models"),
            (gateway.ask(chat(model=7)), 400, "model_missing", "model"),
            (gateway.ask(chat(stream="yes")), 400, "invalid_value", "stream"),
            (gateway.ask(chat(stream_options=[])), 400, "invalid_value", "stream_options"),
            (gateway.ask(chat(model="huge")), 404, "model_not_found", "'tiny'"),
            (gateway.ask(x_innervate_release="gone"), 404, "release_not_found", "first"),
            (gateway.ask(path="/v1/embeddings"), 404, "unknown_path", CHAT),
            (gateway.ask(method="PUT"), 405, "method_not_allowed", "POST"),
            (gateway.ask(x_innervate_session=long), 400, "invalid_header", "256"),
            (gateway.ask(x_innervate_task="\xe9"), 400, "invalid_header", "ASCII"),
            (gateway.ask(x_innervate_deadline_seconds="soon"), 400, "invalid_header", "seconds"),
            (gateway.ask(x_innervate_deadline_seconds="nan"), 400, "invalid_header", "seconds"),
            (gateway.ask(x_innervate_deadline_seconds="-1"), 400, "invalid_header", "seconds"),
            (gateway.ask(content_encoding="gzip"), 400, "invalid_header", "content-encoding"),
        ]
        for asking, status, code, words in cases:
            reply = await asking
            assert (reply.status, reply.error["code"]) == (status, code), reply
            assert words in reply.error["message"]
            assert reply.error["type"]
            assert reply.headers["x-innervate-request-id"]
        await nothing_happened(gateway)


async def test_nobody_passes_without_a_good_token(start, tmp_path):
    async with start() as gateway:
        stranger = Cluster(tmp_path / "stranger").metadata()[0][1]
        expired = gateway.cluster.metadata(seconds=-60)[0][1]
        for authorization, words in [
            (None, "no token"),
            ("Basic dXNlcjpwdw==", "no token"),
            ("Bearer nonsense", "refused"),
            (stranger, "refused"),
            (expired, "expired"),
            ("Bearer " + "x" * 7000, "longer"),
        ]:
            reply = await gateway.ask(authorization=authorization)
            assert (reply.status, reply.error["code"]) == (401, "unauthenticated"), authorization
            assert words in reply.error["message"]
        foreign = gateway.cluster.metadata(namespace="elsewhere")[0][1]
        reply = await gateway.ask(authorization=foreign)
        assert (reply.status, reply.error["code"]) == (403, "permission_denied")
        assert "elsewhere/agent" in reply.error["message"]
        await nothing_happened(gateway)


async def test_rules_say_who_may(start):
    rule = {"serviceAccounts": [{"namespace": "other", "name": "bot"}]}
    async with start(access=[rule]) as gateway:
        bot = gateway.cluster.metadata(account="bot", namespace="other")[0][1]
        assert (await gateway.ask(authorization=bot)).status == 200
        assert (await gateway.ask()).status == 403


BROKEN_HEADS = [
    ("content-length: 10\r\ncontent-length: 10", "HTTP"),
    ("content-length: 10\r\ncontent-length: 20", "HTTP"),
    ("content-length: 10\r\ntransfer-encoding: chunked", "HTTP"),
    ("transfer-encoding: chunked\r\ncontent-length: 10", "HTTP"),
    ("content-length: ten", "HTTP"),
    ("content-length: -1", "HTTP"),
    ("content-length: 99999999999999999999999999", "HTTP"),
    ("x-a: b\x00c", "HTTP"),
    ("x-a: b\rx-b: c", "HTTP"),
    ("x-a : b", "HTTP"),
    (" folded: line", "HTTP"),
    ("x-innervate-session: a\r\nx-innervate-session: b", "once"),
    ("authorization: Bearer x\r\nauthorization: Bearer y", "once"),
    ("\r\n".join(f"x-{n}: y" for n in range(200)), "headers"),
]


async def test_ambiguous_or_broken_heads_are_refused_and_the_connection_ends(start):
    async with start() as gateway:
        for lines, words in BROKEN_HEADS:
            async with gateway.connection() as (reader, writer):
                writer.write(f"POST {CHAT} HTTP/1.1\r\nhost: gateway\r\n{lines}\r\n\r\n".encode("latin-1"))
                reply = await asyncio.wait_for(read_reply(reader), 20)
                assert reply.status in {400, 431}, lines
                assert words in reply.error["message"], lines
                if words == "HTTP":
                    assert reply.headers["connection"] == "close"
                    assert await asyncio.wait_for(reader.read(), 20) == b""
        for data in (b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET\r\n\r\n"):
            assert (await gateway.raw(data)).status == 400
        await nothing_happened(gateway)


async def test_a_giant_head_is_cut_off(start):
    async with start() as gateway:
        for data in (
            b"GET /" + b"a" * 200_000,
            b"GET / HTTP/1.1\r\nx-a: " + b"a" * 200_000,
            b"GET /v1/models HTTP/1.1\r\nx-a: " + b"a" * 40_000 + b"\r\n\r\n",
        ):
            reply = await gateway.raw(data)
            assert (reply.status, reply.error["code"]) == (431, "head_too_large")


async def test_a_giant_body_is_refused_before_it_is_taken(start):
    async with start(limits={"maxBodyBytes": 10_000}) as gateway:
        reply = await gateway.raw(gateway.head(10_001, {}))
        assert (reply.status, reply.error["code"]) == (413, "body_too_large")
        chunked = gateway.head(0, {"content-length": None, "transfer-encoding": "chunked"})
        async with gateway.connection() as (reader, writer):
            writer.write(chunked + b"".join(b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in range(50)))
            reply = await asyncio.wait_for(read_reply(reader), 20)
        assert reply.status == 413
        await nothing_happened(gateway)


async def test_a_chunked_body_within_the_limit_is_taken(start):
    async with start() as gateway:
        body = json.dumps(chat()).encode()
        head = gateway.head(0, {"content-length": None, "transfer-encoding": "chunked"})
        halves = [body[:9], body[9:]]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
        assert (await gateway.raw(head + chunks + b"0\r\n\r\n")).status == 200
        assert gateway.engine.asked[0].body == body


async def test_all_bodies_together_are_bounded(start):
    async with start(limits={"maxBufferedBytes": 2000}) as gateway, gateway.connection() as (_, first):
        first.write(gateway.head(1500, {}) + b"x" * 1400)
        await eventually(lambda: gateway.gateway.core.buffered == 1400)
        reply = await gateway.raw(gateway.head(1000, {}) + b"x" * 1000)
        assert (reply.status, reply.error["code"]) == (503, "memory_full")
        first.close()
        await eventually(lambda: gateway.gateway.core.buffered == 0)
        assert (await gateway.ask()).status == 200


async def test_slow_callers_are_cut_off(start):
    for part in ("head", "body"):
        async with start(limits={f"{part}Seconds": 0.3}) as gateway:
            reply = await gateway.raw(b"POST /v1" if part == "head" else gateway.head(100, {}) + b"{")
            assert (reply.status, reply.error["code"]) == (408, "request_timeout")
            assert part in reply.error["message"]
    async with start(limits={"idleSeconds": 0.3}) as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat()).encode()
        writer.write(gateway.head(len(body), {}) + body)
        assert (await read_reply(reader)).status == 200
        assert await asyncio.wait_for(reader.read(), 20) == b""


async def test_more_connections_than_allowed_are_closed(start):
    async with start(limits={"maxConnections": 1}) as gateway, gateway.connection():
        await eventually(lambda: len(gateway.connections) == 1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await gateway.ask()


async def test_the_body_is_asked_for_where_the_caller_waits_for_that(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat()).encode()
        writer.write(gateway.head(len(body), {"expect": "100-continue"}))
        assert b"100 Continue" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        writer.write(body)
        assert (await read_reply(reader)).status == 200


async def test_a_full_queue_and_a_passed_deadline_are_told(start):
    admission = {"maxConcurrent": 1, "maxQueue": 1}
    engine = Engine(behaviour="hold")
    async with start(engine=engine, admission=admission) as gateway:
        running = asyncio.create_task(gateway.ask())
        await asyncio.wait_for(engine.reached.wait(), 20)
        waiting = asyncio.create_task(gateway.ask())
        await eventually(lambda: gateway.gateway.core.admission.waiting == 1)
        reply = await gateway.ask()
        assert (reply.status, reply.error["code"]) == (429, "queue_full")
        assert int(reply.headers["retry-after"]) >= 1
        [queued] = gateway.gateway.core.admission._queue
        queued._caller.due = 0  # its deadline passes
        reply = await waiting
        assert (reply.status, reply.error["code"]) == (504, "deadline_exceeded")
        assert reply.headers["x-innervate-arm"] == "stable"
        engine.gate.set()
        assert (await running).status == 200
        assert len(engine.asked) == 1
        async with gateway.stub() as stub:
            page = await stub.List(pb.ListRequest(), metadata=gateway.cluster.metadata())
        assert sorted(exchange.outcome for exchange in page.exchanges) == [
            pb.EXCHANGE_OUTCOME_ANSWERED,
            pb.EXCHANGE_OUTCOME_EXPIRED,
        ]


async def test_a_caller_can_only_lower_the_deadline(start):
    engine = Engine(behaviour="hold")
    async with start(engine=engine, admission={"deadlineSeconds": 0.5}) as gateway:
        reply = await gateway.ask(x_innervate_deadline_seconds="3600")
        assert reply.status == 504
        assert "0.5 s" in reply.error["message"]


async def test_a_caller_that_reads_nothing_holds_the_engine_up_and_is_cut(start):
    """Back-pressure reaches the engine: the gateway holds little of a stream that nobody takes."""
    engine = Engine(behaviour="stream")
    piece = b"data: " + b"x" * 60_000 + b"\n\n"
    engine.events = [piece] * 1000
    async with start(engine=engine, limits={"writeSeconds": 1}) as gateway:
        async with gateway.connection() as (reader, writer):
            body = json.dumps(chat(stream=True)).encode()
            writer.write(gateway.head(len(body), {}) + body)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
            reader._transport.pause_reading()
            await eventually(lambda: not gateway.connections)
        async with gateway.stub() as stub:
            page = await stub.List(pb.ListRequest(), metadata=gateway.cluster.metadata())
        assert page.exchanges[0].outcome == pb.EXCHANGE_OUTCOME_ABANDONED
        await eventually(lambda: not engine.open)
