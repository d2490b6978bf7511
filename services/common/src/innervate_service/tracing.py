"""Spans of calls: W3C context in and out of gRPC metadata, names and attributes by semantic conventions.

Own code instead of the instrumentation package, whose interceptors detach contexts in the wrong task
with streams. Attributes follow the RPC conventions of OpenTelemetry:
https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from grpc.aio import ClientCallDetails

_tracer = trace.get_tracer("innervate_service")

_SERVER_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Codes that are errors of a server span; for a client span every code but OK is."""


class Peer(NamedTuple):
    """The other end of a connection."""

    address: str
    port: int | None


def parse_peer(peer: str) -> Peer:
    """Read gRPC's text for a peer, such as ``ipv4:10.0.0.7:41234`` or ``ipv6:%5B::1%5D:41234``."""
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return Peer(peer, None)
    host, _, port = rest.rpartition(":")
    host = host.replace("%5B", "").replace("%5D", "").strip("[]")
    return Peer(host, int(port)) if port.isdecimal() else Peer(rest, None)


def trace_id(span: Span) -> str:
    """The span's trace, hexadecimal."""
    return trace.format_trace_id(span.get_span_context().trace_id)


def traceparent(context: trace.SpanContext) -> str:
    """W3C header of a span that is recorded; empty of one that is not."""
    if not (context.is_valid and context.trace_flags.sampled):
        return ""
    return f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}-01"


def start_server_span(method: str, metadata: Mapping[str, str | bytes], peer: str) -> Span:
    """Start the span of an arrived call and make it current for the rest of the running task.

    gRPC runs each call in a task of its own, so there is nothing to restore afterwards.
    """
    carrier = {key: value for key, value in metadata.items() if isinstance(value, str)}
    parent = propagate.extract(carrier)
    client = parse_peer(peer)
    attributes: dict[str, str | int] = {
        "rpc.system.name": "grpc",
        "rpc.method": method.lstrip("/"),
        "client.address": client.address,
    }
    if client.port is not None:
        attributes["client.port"] = client.port
    span = _tracer.start_span(method.lstrip("/"), context=parent, kind=SpanKind.SERVER, attributes=attributes)
    contexts.attach(trace.set_span_in_context(span, parent))
    return span


def end_server_span(span: Span, code: grpc.StatusCode, message: str | None) -> None:
    """End the span of a call with what it was answered."""
    span.set_attribute("rpc.response.status_code", code.name)
    if code in _SERVER_FAULTS:
        span.set_attribute("error.type", code.name)
        span.set_status(Status(StatusCode.ERROR, message))
    span.end()


class ClientTracing(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives each call of a channel a CLIENT span and sends its context along.

    Pass it in `interceptors` of `grpc.aio.secure_channel`.

    Parameters
    ----------
    address
        The server's name, as in the channel's target.
    port
        Its port.
    """

    def __init__(self, address: str, port: int) -> None:
        self._attributes: dict[str, str | int] = {
            "rpc.system.name": "grpc",
            "server.address": address,
            "server.port": port,
        }

    async def intercept_unary_unary(
        self,
        continuation: Callable[[ClientCallDetails, Any], Awaitable[Any]],
        client_call_details: ClientCallDetails,
        request: Any,
    ) -> Any:
        """See `grpc.aio.UnaryUnaryClientInterceptor`."""
        raw: str | bytes = client_call_details.method
        method = (raw.decode() if isinstance(raw, bytes) else raw).lstrip("/")
        attributes = {**self._attributes, "rpc.method": method}
        with _tracer.start_as_current_span(method, kind=SpanKind.CLIENT, attributes=attributes) as span:
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            metadata = grpc.aio.Metadata(*(client_call_details.metadata or ()), *carrier.items())
            details = grpc.aio.ClientCallDetails(
                client_call_details.method,
                client_call_details.timeout,
                metadata,
                client_call_details.credentials,
                client_call_details.wait_for_ready,
            )
            call = await continuation(details, request)
            try:
                code = await call.code()
            except asyncio.CancelledError:
                call.cancel()
                raise
            span.set_attribute("rpc.response.status_code", code.name)
            if code is not grpc.StatusCode.OK:
                span.set_attribute("error.type", code.name)
                span.set_status(Status(StatusCode.ERROR, await call.details()))
            return call
