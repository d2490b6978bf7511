"""A gateway's beginning and end, its certificate, its traces and what it counts."""

import asyncio
import json
import ssl
import urllib.request

from eventually import eventually
from gateway_engine import Engine
from gateway_process import CHAT, chat, read_reply
from innervate_gateway import spans
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def trusting(authority) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_tls_serves_the_certificate_of_now(start):
    async with start(tls=True) as gateway:
        store = gateway.gateway._listener._certificates
        serials = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1",
                gateway.gateway.port,
                ssl=trusting(gateway.cluster.authority),
                server_hostname="localhost",
            )
            peer = writer.get_extra_info("ssl_object")
            serials.append(peer.getpeercert()["serialNumber"])
            assert peer.selected_alpn_protocol() == "http/1.1"
            body = json.dumps(chat(stream=True)).encode()
            writer.write(gateway.head(len(body), {}) + body)
            reply = await asyncio.wait_for(read_reply(reader), 20)
            assert reply.status == 200
            store.replace(gateway.cluster.authority.issue())
            # A connection that is open keeps what it began with.
            writer.write(gateway.head(len(body), {}) + body)
            assert (await asyncio.wait_for(read_reply(reader), 20)).status == 200
            writer.close()
        assert serials[0] != serials[1]


async def test_draining_lets_requests_end_and_connections_with_them(start):
    engine = Engine(behaviour="hold_stream")
    async with start(engine=engine) as gateway, gateway.connection() as (reader, writer):  # noqa: SIM117  legible
        async with gateway.connection() as (idle, _):
            body = json.dumps(chat(stream=True)).encode()
            writer.write(gateway.head(len(body), {}) + body)
            await asyncio.wait_for(engine.reached.wait(), 20)
            gateway.gateway.begin_drain()
            ask = await gateway.ask(chat(), path="/v1/models", method="GET")
            assert ask.headers["connection"] == "close"
            ending = asyncio.create_task(gateway.server.drain())
            assert await asyncio.wait_for(idle.read(), 20) == b""
            assert gateway.server.problem() == "draining"
            engine.gate.set()
            reply = await asyncio.wait_for(read_reply(reader), 20)
            assert reply.body.endswith(b"data: [DONE]\n\n")
            assert await asyncio.wait_for(reader.read(), 20) == b""
            await asyncio.wait_for(ending, 30)


async def test_draining_lets_a_request_come_to_its_end(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat()).encode()
        writer.write(gateway.head(len(body), {}) + body[:10])
        await eventually(lambda: gateway.gateway.core.buffered == 10)
        ending = asyncio.create_task(gateway.server.drain())
        await eventually(lambda: gateway.gateway._listener._server.sockets == ())
        writer.write(body[10:])
        reply = await asyncio.wait_for(read_reply(reader), 20)
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        await asyncio.wait_for(ending, 30)


async def test_what_does_not_end_in_time_is_cut(start):
    engine = Engine(behaviour="hold")
    async with start(engine=engine) as gateway:
        asking = asyncio.create_task(gateway.ask())
        await asyncio.wait_for(engine.reached.wait(), 20)
        await gateway.gateway._listener.stop(0.1)
        try:
            await asking
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        raise AssertionError("it was answered")


async def test_spans_say_what_happened(start, monkeypatch):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("test"))
    async with start() as gateway:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await gateway.ask(traceparent=parent, x_innervate_session="s")
        gateway.engine.script.append("refuse")
        await gateway.ask(traceparent="nonsense")
        # Once on a connection that may have been too old, once on a fresh one.
        gateway.engine.script.extend(["reset", "reset"])
        await gateway.ask()
        sent = [asked.headers["traceparent"] for asked in gateway.engine.asked]
    call, server, refused, _, stale, failed_call, failed = exporter.get_finished_spans()
    assert trace.format_trace_id(server.context.trace_id) == parent.split("-")[1]
    assert trace.format_span_id(server.parent.span_id) == parent.split("-")[2]
    assert server.kind is trace.SpanKind.SERVER
    assert server.name == f"POST {CHAT}"
    assert server.attributes["gen_ai.conversation.id"] == "s"
    assert server.attributes["http.response.status_code"] == 200
    assert call.parent.span_id == server.context.span_id
    assert call.kind is trace.SpanKind.CLIENT
    assert call.name == "chat tiny"
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "llama.cpp",
        "gen_ai.request.model": "tiny",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
    }
    assert wanted.items() <= dict(call.attributes).items()
    assert trace.format_span_id(call.context.span_id) in sent[0]
    assert refused.attributes["error.type"] == "400"
    assert stale.attributes["error.type"] == "connection_closed"
    assert failed_call.attributes["error.type"] == "engine_failed"
    assert failed.attributes["http.response.status_code"] == 502


async def test_what_is_done_is_counted(start):
    async with start() as gateway:
        await gateway.ask(chat(stream=True))
        await gateway.ask(chat(model="huge"))
        await eventually(lambda: gateway.gateway.core.admission.running == 0)
        url = f"http://localhost:{gateway.server.ports.metrics}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    assert float(lines['innervate_gateway_requests_total{arm="stable",code="200"}']) >= 1
    assert float(lines['innervate_gateway_refused_total{code="404"}']) >= 1
    assert float(lines['innervate_gateway_tokens_total{arm="stable",kind="output"}']) >= 3
    assert float(lines['innervate_gateway_first_token_seconds_count{arm="stable"}']) >= 1
    assert float(lines['innervate_gateway_seconds_bucket{arm="stable",le="+Inf"}']) >= 1
    assert float(lines["innervate_gateway_log_entries_total"]) >= 1
    assert float(lines["innervate_gateway_routes_generation"]) == 1
