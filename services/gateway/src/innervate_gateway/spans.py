"""Spans of an exchange: one for the caller's request, one for each try at an engine.

Names and attributes follow OpenTelemetry's conventions for HTTP and for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/). A request that is not sampled costs next to nothing:
no span is made for it, its context only passes through.
"""

from __future__ import annotations

import os
import random
import re
from functools import cache
from typing import TYPE_CHECKING, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.trace import Tracer as RecordingTracer
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_gateway.endpoints import Endpoint

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_EMPTY: Final = contexts.Context()
_PROVIDERS: Final = {"LlamaCpp": "llama.cpp", "External": "openai"}
_NAME: Final = "innervate_gateway"
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.38.0"
_tracer: Final = trace.get_tracer(_NAME, schema_url=_SCHEMA)
_EVERY: Final = 2**64


def root_bound(environ: Mapping[str, str]) -> int:
    """Traces that begin here are left unsampled where the low half of their id is not below this.

    It is the rule of OpenTelemetry's own samplers, which still have their say about all others.
    """
    sampler = environ.get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    if sampler == "always_off":
        return 0
    if sampler != "traceidratio":
        return _EVERY
    try:
        return TraceIdRatioBased.get_bound_for_rate(float(environ["OTEL_TRACES_SAMPLER_ARG"]))
    except (KeyError, ValueError):
        return _EVERY


_BOUND: Final = root_bound(os.environ)


class _DrawnIds(RandomIdGenerator):
    """Gives a trace the id by which it was chosen."""

    drawn = 0

    def generate_trace_id(self) -> int:
        return self.drawn


_ids: Final = _DrawnIds()


@cache
def _root_tracer() -> Tracer:
    """Begins traces under the drawn ids."""
    tracer = trace.get_tracer(_NAME, schema_url=_SCHEMA)
    if isinstance(tracer, RecordingTracer):
        tracer.id_generator = _ids
    return tracer


class ExchangeTrace:
    """The trace of one exchange.

    Parameters
    ----------
    path
        What was asked for, such as ``/v1/chat/completions``.
    traceparent, tracestate
        Headers of the caller; a malformed one counts as absent.
    """

    __slots__ = ("_call", "_server", "_traceparent", "_tracestate", "trace_id")

    def __init__(self, path: str, *, traceparent: str, tracestate: str) -> None:
        self._call: Span | None = None
        self._server: Span | None = None
        self._tracestate = tracestate
        parent = _parent(traceparent, tracestate) if traceparent else None
        if parent is not None and not parent.trace_flags.sampled:
            self.trace_id = trace.format_trace_id(parent.trace_id)
            self._traceparent = traceparent
            return
        tracer, context = _tracer, _EMPTY
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(parent), _EMPTY)
        elif _BOUND < _EVERY:
            drawn = _ids.drawn = random.getrandbits(128)
            if drawn % _EVERY >= _BOUND:
                self.trace_id = f"{drawn:032x}"
                span_id = random.getrandbits(64)
                # The flag 02 says that the id is random, so that others may sample by it.
                self._traceparent = f"00-{self.trace_id}-{span_id:016x}-02"
                return
            tracer = _root_tracer()
        span = tracer.start_span(f"POST {path}", context=context, kind=SpanKind.SERVER)
        mine = span.get_span_context()
        self.trace_id = trace.format_trace_id(mine.trace_id)
        self._traceparent = _header(mine)
        if span.is_recording():
            self._server = span
            span.set_attributes({"http.request.method": "POST", "http.route": path, "url.path": path})

    def headers(self) -> str:
        """What tells the engine of the trace."""
        state = f"tracestate: {self._tracestate}\r\n" if self._tracestate else ""
        return f"traceparent: {self._traceparent}\r\n{state}"

    def begin_call(self, endpoint: Endpoint, *, engine: str, operation: str, model: str) -> None:
        """Note that an engine is asked."""
        if self._server is None:
            return
        replica = endpoint.replica
        self._call = _tracer.start_span(
            f"{operation} {model}",
            context=trace.set_span_in_context(self._server, _EMPTY),
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": _PROVIDERS.get(engine, engine.lower()),
                "gen_ai.request.model": replica.model or model,
                "server.address": replica.host,
                "server.port": replica.port,
                "innervate.variant": replica.variant,
            },
        )
        self._traceparent = _header(self._call.get_span_context())

    def end_call(self, *, error: str = "", attributes: Mapping[str, str | int | float] | None = None) -> None:
        """Note that the engine's answer ended, or why there is none."""
        if self._call is None:
            return
        _end(self._call, error, attributes)
        self._call = None

    def end(self, *, status: int, error: str, attributes: Mapping[str, str | int | float]) -> None:
        """Note that the exchange is over."""
        if self._server is None:
            return
        self.end_call(error=error)
        self._server.set_attribute("http.response.status_code", status)
        _end(self._server, error, attributes)
        self._server = None

    @property
    def recorded(self) -> bool:
        """Whether anything is kept of it, so that attributes are worth making."""
        return self._server is not None


def _end(span: Span, error: str, attributes: Mapping[str, str | int | float] | None) -> None:
    if attributes:
        span.set_attributes(dict(attributes))
    if error:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _parent(traceparent: str, tracestate: str) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    context = SpanContext(
        trace_id=int(match[1], 16),
        span_id=int(match[2], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(match[3], 16)),
        trace_state=TraceState.from_header([tracestate]) if tracestate else None,
    )
    return context if context.is_valid else None


def _header(context: SpanContext) -> str:
    return (
        f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
        f"-{int(context.trace_flags):02x}"
    )
