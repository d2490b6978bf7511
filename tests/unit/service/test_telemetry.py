"""Traces of real calls, sent to a real OTLP receiver, and what happens without one."""

from __future__ import annotations

import subprocess
import sys

import grpc
import pytest
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc
from innervate_service.config import TelemetryConfig
from innervate_service.errors import Unavailable
from innervate_service.telemetry import endpoint_of
from innervate_service.tracing import ClientTracing, Peer, parse_peer
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

METHOD = "innervate_api.memory.v1.MemoryService/Stats"


class Inner(memory_pb2_grpc.MemoryServiceServicer):
    """Stats makes a span of its own, or fails."""

    async def Stats(self, request, _context):  # noqa: N802  named by the proto
        if request.space == "down":
            raise Unavailable("redis is gone")
        with trace.get_tracer("test").start_as_current_span("inner"):
            return memory_pb2.StatsResponse()


@pytest.fixture(scope="session")
def exporter():
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter


@pytest.fixture
def spans(exporter):
    exporter.clear()
    return lambda: {(span.name, span.kind): span for span in exporter.get_finished_spans()}


async def test_a_call_continues_the_trace_it_came_with(start, spans):
    running = await start(Inner())
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    traceparent = (("traceparent", f"00-{trace_id}-{span_id}-01"),)
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        await stub.Stats(memory_pb2.StatsRequest(), metadata=(*running.metadata(), *traceparent))
    server = spans()[METHOD, SpanKind.SERVER]
    inner = spans()["inner", SpanKind.INTERNAL]
    assert trace.format_trace_id(server.context.trace_id) == trace_id
    assert trace.format_span_id(server.parent.span_id) == span_id
    assert inner.parent.span_id == server.context.span_id
    assert server.attributes["rpc.system.name"] == "grpc"
    assert server.attributes["rpc.method"] == METHOD
    assert server.attributes["rpc.response.status_code"] == "OK"
    assert server.attributes["innervate.caller.namespace"] == "shop"
    assert server.attributes["innervate.caller.account"] == "agent"
    assert server.attributes["client.address"] in {"127.0.0.1", "::1"}


async def test_a_channel_with_the_interceptor_leads_into_the_server(start, spans):
    running = await start(Inner())
    tracing = ClientTracing("localhost", running.server.ports.grpc)
    async with running.channel(interceptors=[tracing]) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with trace.get_tracer("test").start_as_current_span("outer"):
            await stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata())
    outer = spans()["outer", SpanKind.INTERNAL]
    client = spans()[METHOD, SpanKind.CLIENT]
    server = spans()[METHOD, SpanKind.SERVER]
    assert client.parent.span_id == outer.context.span_id
    assert server.parent.span_id == client.context.span_id
    assert client.attributes["server.port"] == running.server.ports.grpc
    assert client.status.status_code is StatusCode.UNSET


async def test_a_failure_is_seen_on_both_ends(start, spans):
    running = await start(Inner())
    tracing = ClientTracing("localhost", running.server.ports.grpc)
    async with running.channel(interceptors=[tracing]) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.Stats(memory_pb2.StatsRequest(space="down"), metadata=running.metadata())
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    for kind in (SpanKind.CLIENT, SpanKind.SERVER):
        span = spans()[METHOD, kind]
        assert span.attributes["rpc.response.status_code"] == "UNAVAILABLE"
        assert span.attributes["error.type"] == "UNAVAILABLE"
        assert span.status.status_code is StatusCode.ERROR


async def test_a_refused_caller_is_no_fault_of_the_server(start, spans):
    running = await start(Inner())
    async with running.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await memory_pb2_grpc.MemoryServiceStub(channel).Stats(memory_pb2.StatsRequest())
    server = spans()[METHOD, SpanKind.SERVER]
    assert server.attributes["rpc.response.status_code"] == "UNAUTHENTICATED"
    assert server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ipv4:10.0.0.7:41234", Peer("10.0.0.7", 41234)),
        ("ipv6:%5B::1%5D:41234", Peer("::1", 41234)),
        ("ipv6:[fe80::1]:1", Peer("fe80::1", 1)),
        ("unix:/tmp/x", Peer("unix:/tmp/x", None)),
        ("", Peer("", None)),
    ],
)
def test_peers_are_read(text, peer):
    assert parse_peer(text) == peer


def test_the_configured_endpoint_wins_over_the_environment(monkeypatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert endpoint_of(TelemetryConfig()) is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://environment:4317")
    assert endpoint_of(TelemetryConfig()) == "http://environment:4317"
    assert endpoint_of(TelemetryConfig(otlp_endpoint="http://config:4317")) == "http://config:4317"


# A process sets its tracer provider once: these run in one of their own.
EXPORTS = """
import asyncio, sys
from concurrent import futures
import grpc
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from innervate_service import telemetry
from innervate_service.config import TelemetryConfig

class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self):
        self.spans = []
    def Export(self, request, context):
        for resource in request.resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append((attributes["service.name"], attributes["k"], span.name))
        return trace_service_pb2.ExportTraceServiceResponse()

async def main():
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    config = TelemetryConfig(
        otlp_endpoint=f"http://localhost:{port}", service_name="memory", resource_attributes={"k": "v"}
    )
    telemetry.configure(config)
    telemetry.configure(config)
    for number in range(3):
        trace.get_tracer("t").start_span(f"span-{number}").end()
    assert await telemetry.shutdown(seconds=60)
    assert sorted(receiver.spans) == [("memory", "v", f"span-{n}") for n in range(3)], receiver.spans
    server.stop(None).wait()

asyncio.run(main())
"""

COLLECTOR_IS_SILENT = """
import asyncio, os, socket, threading, time
from opentelemetry import trace
from innervate_service import telemetry
from innervate_service.config import TelemetryConfig

async def main():
    # Takes connections and never answers: worse than one that refuses.
    silent = socket.create_server(("localhost", 0))
    telemetry.configure(TelemetryConfig(otlp_endpoint=f"http://localhost:{silent.getsockname()[1]}"))
    turns = 0
    async def beat():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)
    heart = asyncio.create_task(beat())
    tracer = trace.get_tracer("t")
    for number in range(20_000):  # ten times what the queue holds
        with tracer.start_as_current_span("span"):
            pass
        if number % 100 == 0:
            await asyncio.sleep(0)
    before = turns
    assert not await telemetry.shutdown(seconds=0.2)
    assert turns > before
    heart.cancel()

asyncio.run(main())
"""


@pytest.mark.parametrize("program", [EXPORTS, COLLECTOR_IS_SILENT], ids=["exports", "silent"])
def test_export(program):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
