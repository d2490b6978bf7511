"""Traces of what the client does, by the GenAI conventions for memory."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode

from innervate.errors import InnervateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.trace import Span

    from innervate.calls import Call

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
MEMORY = "innervate_api.memory.v1.MemoryService"
_STORE = "gen_ai.memory.store.id"


def setup_tracing(
    endpoint: str | None = None, *, service_name: str = "innervate-client"
) -> Callable[[], None]:
    """Send this process's spans to an OpenTelemetry collector.

    For programs that have no tracing of their own; one that has needs nothing: the client uses the
    global tracer provider.

    Parameters
    ----------
    endpoint
        ``http://host:4317`` of the collector, gRPC; None for OTEL_EXPORTER_OTLP_ENDPOINT.
    service_name
        Name that the spans come under.

    Returns
    -------
    Callable
        Sends what is left and ends; call it before the program ends.
    """
    # Programs that trace by other means need none of these.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    insecure = endpoint.startswith("http://") if endpoint else None
    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure)))
    trace.set_tracer_provider(provider)
    return provider.shutdown


def tracer() -> trace.Tracer:
    """Tracer of this package."""
    return trace.get_tracer("innervate", version("innervate"), schema_url=SCHEMA_URL)


@contextmanager
def client_span(call: Call[Any], called: str) -> Iterator[Span]:
    """Span of one call, all attempts together.

    Parameters
    ----------
    call
        What is called.
    called
        What the store, or pool, is called.
    """
    attributes: dict[str, str | int] = {
        "rpc.system.name": "grpc",
        "rpc.method": f"{call.service}/{call.method}",
        "gen_ai.provider.name": "innervate",
        **({_STORE: called} if call.service == MEMORY else {}),
        **call.attributes,
    }
    if call.operation:
        attributes["gen_ai.operation.name"] = call.operation
    name = f"{call.operation} {called}" if call.operation else f"{call.service}/{call.method}"
    with failing_span(name, attributes) as span:
        yield span


@contextmanager
def failing_span(name: str, attributes: Mapping[str, str | int]) -> Iterator[Span]:
    """Span of a client's request that says of an error what its message does, and no more.

    Parameters
    ----------
    name, attributes
        Of the span.
    """
    with tracer().start_as_current_span(
        name,
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except BaseException as error:
            said = error.message if isinstance(error, InnervateError) else str(error)
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR, said)
            raise


def note_retry(span: Span, number: int, error: InnervateError) -> None:
    """Record on a span that an attempt failed and another follows."""
    span.add_event(
        "retry", {"attempt": number, "error.type": type(error).__name__, "error.message": error.message}
    )


def metadata(token: str) -> tuple[tuple[str, str], ...]:
    """Metadata of a call: who calls, and which trace it belongs to."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return (("authorization", f"Bearer {token}"), *carrier.items())


def traceparent(span: Span) -> str:
    """W3C trace context of a span; empty when nothing is traced."""
    context = span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
