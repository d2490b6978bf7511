"""Which traces are recorded that begin at the gateway."""

import pytest
from innervate_gateway import spans
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio, TraceIdRatioBased


@pytest.mark.parametrize(
    ("environ", "bound"),
    [
        ({}, 2**64),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 2**64),
        ({"OTEL_TRACES_SAMPLER": "somebody_elses"}, 2**64),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, 2**64),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"}, 2**64),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            TraceIdRatioBased(0.25).bound,
        ),
    ],
)
def test_the_bound_is_that_of_the_sampler(environ, bound):
    assert spans.root_bound(environ) == bound


def test_a_share_of_the_traces_is_recorded_under_the_ids_that_were_drawn(monkeypatch):
    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(0.5))
    monkeypatch.setattr(trace, "get_tracer", lambda name, **_: provider.get_tracer(name))
    monkeypatch.setattr(spans, "_BOUND", TraceIdRatioBased(0.5).bound)
    spans._root_tracer.cache_clear()
    try:
        traces = [spans.ExchangeTrace("/v1/completions", traceparent="", tracestate="") for _ in range(80)]
    finally:
        spans._root_tracer.cache_clear()
    assert len({each.trace_id for each in traces}) == len(traces)
    assert {each.recorded for each in traces} == {True, False}
    for each in traces:
        assert each.recorded == (int(each.trace_id, 16) % 2**64 < 2**63)
        version, trace_id, span_id, flags = each.headers().split()[1].split("-")
        assert (version, trace_id, flags) == ("00", each.trace_id, "03" if each.recorded else "02")
        assert len(span_id) == 16
