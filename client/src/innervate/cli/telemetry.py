"""Traces of the command itself."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind

from innervate import tracing
from innervate.cli.output import err
from innervate.errors import InnervateError
from innervate.forward import PortForward

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.trace import Span

    from innervate.kubectl import Kubectl

NAMESPACE = "innervate-observability"
SERVICE = "innervate-telemetry"
OTLP_PORT = 4317
QUERY_PORT = 16686
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


@contextmanager
def traced(command: str, kubectl: Kubectl, *, wanted: bool) -> Iterator[Span]:
    """Span around a command, sent to a collector.

    To the collector that OpenTelemetry's own environment variables name; else, where a trace is
    wanted, to the cluster's own through a port-forward. Otherwise nothing is recorded.

    Parameters
    ----------
    command
        Name of the span.
    kubectl
        How to reach the cluster.
    wanted
        Whether to record in any case, and print the trace's id.
    """
    named = any(os.environ.get(name) for name in _ENDPOINTS)
    with ExitStack() as stack:
        if named:
            stack.callback(tracing.setup_tracing(service_name="innervate-command"))
        elif wanted:
            endpoint = _forward(kubectl, stack)
            if endpoint:
                stack.callback(tracing.setup_tracing(endpoint, service_name="innervate-command"))
        with tracing.tracer().start_as_current_span(command, kind=SpanKind.INTERNAL) as span:
            yield span
            trace = tracing.traceparent(span)
        if wanted and trace:
            err.print(f"trace {trace.split('-')[1]}  (innervate trace show {trace.split('-')[1]})")


def _forward(kubectl: Kubectl, stack: ExitStack) -> str | None:
    try:
        forward = PortForward(replace(kubectl, namespace=NAMESPACE), SERVICE, OTLP_PORT)
    except InnervateError as error:
        err.print(f"no trace is recorded: {error}", markup=False, soft_wrap=True)
        return None
    stack.callback(forward.close)
    return f"http://127.0.0.1:{forward.port}"
