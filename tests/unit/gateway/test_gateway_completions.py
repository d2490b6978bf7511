"""Completions through a whole gateway: what callers get, what engines get, what is on record."""

import asyncio
import json

from gateway_engine import Engine, event, stream_events
from gateway_process import chat, read_reply
from innervate_api.exchange.v1 import exchange_pb2 as pb


async def listed(gateway) -> list[pb.Exchange]:
    async with gateway.stub() as stub:
        page = await stub.List(pb.ListRequest(page_size=1000), metadata=gateway.cluster.metadata())
    return list(page.exchanges)


async def test_an_answer_passes_and_is_on_record(start):
    async with start() as gateway:
        reply = await gateway.ask(
            chat(temperature=0), x_innervate_session="s1", x_innervate_task="t1", x_secret="mine"
        )
        assert reply.status == 200
        assert reply.document == gateway.engine.document
        assert reply.headers["x-innervate-release"] == "first"
        assert reply.headers["x-innervate-arm"] == "stable"
        assert "server" not in reply.headers
        assert "set-cookie" not in reply.headers
        [asked] = gateway.engine.asked
        assert asked.document == chat(temperature=0)
        assert asked.headers["authorization"] == "Bearer engine-secret"
        assert not [name for name in asked.headers if name.startswith("x-")]
        [exchange] = await listed(gateway)
        assert exchange.request_id == reply.headers["x-innervate-request-id"]
        assert (exchange.tenant, exchange.session, exchange.task) == ("shop/agent", "s1", "t1")
        assert (exchange.arm, exchange.release, exchange.variant) == ("stable", "first", "cpu")
        assert (exchange.input_tokens, exchange.cached_tokens, exchange.output_tokens) == (7, 2, 3)
        assert exchange.outcome == pb.EXCHANGE_OUTCOME_ANSWERED
        assert (exchange.status_code, exchange.propensity) == (200, 1)
        assert len(exchange.trace_id) == 32
        assert exchange.request_digest == exchange.request_content == ""


async def test_a_stream_passes_without_the_usage_nobody_asked_for(start):
    async with start() as gateway:
        reply = await gateway.ask(chat(stream=True))
        words = stream_events()
        assert reply.body == b"".join([*words[:3], words[4]])
        assert reply.headers["content-type"] == "text/event-stream"
        assert reply.headers["x-innervate-arm"] == "stable"
        assert gateway.engine.asked[0].document["stream_options"] == {"include_usage": True}
        [exchange] = await listed(gateway)
        assert (exchange.input_tokens, exchange.output_tokens) == (7, 3)


async def test_a_stream_keeps_the_usage_that_was_asked_for(start):
    async with start() as gateway:
        reply = await gateway.ask(chat(stream=True, stream_options={"include_usage": True}))
        assert reply.body == b"".join(stream_events())


async def test_each_piece_of_a_stream_arrives_before_the_next_is_made(start):
    async with start(engine=Engine(behaviour="hold_stream")) as gateway, gateway.connection() as (r, w):
        body = json.dumps(chat(stream=True)).encode()
        w.write(gateway.head(len(body), {}) + body)
        await asyncio.wait_for(r.readuntil(b"\r\n\r\n"), 20)
        size = int(await r.readline(), 16)
        assert await r.readexactly(size) == gateway.engine.events[0]
        gateway.engine.gate.set()
        rest = await asyncio.wait_for(r.readuntil(b"0\r\n\r\n"), 20)
        assert b"[DONE]" in rest


async def test_many_requests_share_a_connection_here_and_at_the_engine(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat()).encode()
        for _ in range(5):
            writer.write(gateway.head(len(body), {}) + body)
            assert (await read_reply(reader)).status == 200
        # Sent without waiting, they are answered in order.
        writer.write((gateway.head(len(body), {}) + body) * 7)
        ids = [(await read_reply(reader)).headers["x-innervate-request-id"] for _ in range(7)]
        assert ids == sorted(set(ids), key=ids.index)
        assert len(gateway.engine.open) == 1
        assert [exchange.request_id for exchange in await listed(gateway)][-7:] == ids


async def test_models_are_told(start):
    async with start() as gateway:
        reply = await gateway.ask(path="/v1/models", method="GET", body=b"", content_length=None)
        [model] = reply.document["data"]
        assert model["id"] == "tiny"


async def test_a_close_after_the_answer_is_kept_to(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat()).encode()
        writer.write(gateway.head(len(body), {"connection": "close"}) + body)
        reply = await read_reply(reader)
        assert reply.headers["connection"] == "close"
        assert await reader.read() == b""


async def test_http_1_0_gets_a_stream_until_the_end_of_the_connection(start):
    async with start() as gateway:
        body = json.dumps(chat(stream=True)).encode()
        head = gateway.head(len(body), {}).replace(b"HTTP/1.1", b"HTTP/1.0")
        reply = await gateway.raw(head + body)
        assert "transfer-encoding" not in reply.headers
        assert reply.body.endswith(event("[DONE]"))


async def test_content_is_kept_as_the_policy_says(start):
    for policy, kept in (("Digest", False), ("Full", True)):
        async with start(exchangeLog={"content": policy}) as gateway:
            reply = await gateway.ask(chat(stream=True))
            exchange = (await listed(gateway))[-1]
            assert len(exchange.request_digest) == len(exchange.response_digest) == 64
            assert exchange.response_content == (reply.body.decode() if kept else "")
            assert bool(exchange.request_content) is kept


async def test_the_trace_goes_on_to_the_engine(start):
    async with start() as gateway:
        trace = "0af7651916cd43dd8448eb211c80319c"
        await gateway.ask(traceparent=f"00-{trace}-b7ad6b7169203331-00", tracestate="a=b")
        asked = gateway.engine.asked[0]
        assert asked.headers["traceparent"].split("-")[1] == trace
        assert asked.headers["tracestate"] == "a=b"
        assert (await listed(gateway))[0].trace_id == trace


async def test_a_body_too_deep_to_be_changed_is_refused(start):
    async with start() as gateway:
        deep = b"[" * 1000 + b"]" * 1000
        body = b'{"model":"tiny","stream":true,"stream_options":{},"x":' + deep + b"}"
        for _ in range(3):
            reply = await gateway.ask(body=body)
            assert (reply.status, reply.error["code"]) == (400, "invalid_json")
            assert "deep" in reply.error["message"]
        assert gateway.gateway.core.admission.running == 0
        assert gateway.engine.asked == []
