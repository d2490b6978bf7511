"""One trace leads from the caller through the client to the service, and says nothing it should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate import InvalidArgument, MemoryClient, NewRecord
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan

SECRET = "the safe opens with 4711"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    # A process sets its provider once; other tests may have done so before.
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


def clients(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [
        span
        for span in exporter.get_finished_spans()
        if span.instrumentation_scope and span.instrumentation_scope.name == "innervate"
    ]


def test_one_trace_leads_from_caller_to_service(
    connect: Callable[..., MemoryClient], exporter: InMemorySpanExporter
) -> None:
    client = connect()
    with trace.get_tracer("test").start_as_current_span("caller") as caller:
        client.search("anything")
    spans = {span.context.span_id: span for span in exporter.get_finished_spans() if span.context}
    (sent,) = clients(exporter)
    (served,) = [span for span in spans.values() if span.kind is SpanKind.SERVER]
    assert sent.parent is not None
    assert sent.parent.span_id == caller.get_span_context().span_id
    assert served.parent is not None
    assert sent.context is not None
    assert served.parent.span_id == sent.context.span_id


def test_spans_follow_the_conventions(
    connect: Callable[..., MemoryClient], exporter: InMemorySpanExporter
) -> None:
    client = connect()
    put = client.put(NewRecord(text=SECRET, session_id="monday"))
    client.search(SECRET)
    client.forget([put.id])
    upsert, search, delete = clients(exporter)
    assert upsert.name == "upsert_memory localhost"
    assert upsert.kind is SpanKind.CLIENT
    assert upsert.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "innervate_api.memory.v1.MemoryService/Put",
        "gen_ai.provider.name": "innervate",
        "gen_ai.operation.name": "upsert_memory",
        "gen_ai.memory.store.id": "localhost",
        "gen_ai.memory.record.count": 1,
        "gen_ai.conversation.id": "monday",
    }
    assert search.name == "search_memory localhost"
    assert delete.name == "delete_memory localhost"
    assert delete.attributes
    assert delete.attributes["gen_ai.memory.record.id"] == put.id


def test_texts_are_not_recorded(connect: Callable[..., MemoryClient], exporter: InMemorySpanExporter) -> None:
    client = connect()
    client.put(SECRET)
    client.search(SECRET)
    assert exporter.get_finished_spans()
    assert not [span.to_json() for span in exporter.get_finished_spans() if SECRET in span.to_json()]


def test_a_failure_marks_the_span(
    connect: Callable[..., MemoryClient], exporter: InMemorySpanExporter
) -> None:
    with pytest.raises(InvalidArgument):
        connect().put("")
    (span,) = clients(exporter)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes
    assert span.attributes["error.type"] == "InvalidArgument"
