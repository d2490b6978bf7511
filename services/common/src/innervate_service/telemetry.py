"""Set-up of traces: provider, exporter, resource. A collector that is down never holds a call up.

Spans go through a bounded queue and a thread of their own; what does not fit is dropped.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

if TYPE_CHECKING:
    from innervate_service.config import TelemetryConfig

_BATCH_SECONDS = 1
"""Time between two exports: who looks for a trace right after a call should find it."""
_EXPORT_SECONDS = 5
"""Time limit of one export, tries included."""
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def endpoint_of(config: TelemetryConfig) -> str | None:
    """Where spans go: the configuration, else the environment, else nowhere."""
    named = [config.otlp_endpoint, *map(os.environ.get, _ENDPOINT_VARIABLES)]
    return next((endpoint for endpoint in named if endpoint), None)


def configure(config: TelemetryConfig) -> None:
    """Install the process's tracer provider; a second call changes nothing.

    Without an endpoint spans are still made, so that trace ids reach logs, errors and the next service.
    Propagation is W3C trace context and baggage, the library's default; the sampler is taken from
    ``OTEL_TRACES_SAMPLER``, by default the parent's decision, and all without one.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    resource = Resource.create(
        {
            "service.name": config.service_name,
            "service.instance.id": os.uname().nodename,
            **config.resource_attributes,
        }
    )
    # At exit the process must not wait for a collector: shutdown() below bounds it.
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    endpoint = endpoint_of(config)
    if endpoint is not None:
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=_EXPORT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_BATCH_SECONDS * 1000))
    trace.set_tracer_provider(provider)


async def shutdown(*, seconds: float = 5.0) -> bool:
    """Export what is left, for so long; the provider is of no use afterwards.

    Returns
    -------
    bool
        Whether everything could be exported in time.
    """
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        return True
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def finish() -> None:
        provider.shutdown()
        loop.call_soon_threadsafe(done.set)

    # A daemon, unlike an executor's thread: the process can end while an export still hangs.
    threading.Thread(target=finish, name="telemetry-shutdown", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        return False
    return True
