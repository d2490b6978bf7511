"""Every step is visible: the edges of `trace_edges.yaml` are in the trace store."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from innervate import Filter, NewRecord, jaeger
from innervate.tracing import traceparent, tracer

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate.jaeger import Trace

    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

EDGES = yaml.safe_load((Path(__file__).parents[1] / "trace_edges.yaml").read_text())


def missing(trace: Trace, edges: list[list[str]]) -> list[list[str]]:
    """Expected edges that the trace lacks."""
    by_id = {span.id: span for span in trace.spans}
    found = [
        (f"{parent.service}: {parent.operation}", f"{span.service}: {span.operation}")
        for span in trace.spans
        if (parent := by_id.get(span.parent))
    ]
    return [
        edge
        for edge in edges
        if not any(fnmatchcase(start, edge[0]) and fnmatchcase(end, edge[1]) for start, end in found)
    ]


def read(lab: Lab, trace: str, edges: list[list[str]]) -> Trace:
    """Wait until every expected edge of a trace has arrived, and give the trace."""
    with lab.forward("innervate-observability", "innervate-telemetry", 16686) as forward:
        url = f"http://127.0.0.1:{forward.port}"
        found = jaeger.fetch(url, trace, wait_s=20)
        for _ in range(20):
            if not missing(found, edges):
                break
            lab.sleep(0.5)
            found = jaeger.fetch(url, trace, wait_s=20)
    assert missing(found, edges) == []
    return found


def test_one_trace_leads_from_the_client_to_redis(lab: Lab, shop: str, tracing: Callable[[], None]) -> None:
    with lab.memory("support", shop) as memory, tracer().start_as_current_span("story") as span:
        trace = jaeger.trace_id(traceparent(span))
        memory.put(NewRecord(text="Trains leave at eight.", session_id="traced"))
        memory.search("When do trains leave?")
        memory.forget(matching=Filter(session_id="traced"))
    tracing()
    edges = EDGES["memory put"] + EDGES["memory search"] + EDGES["memory forget"]
    found = read(lab, trace, edges)
    told = str([span.attributes for span in found.spans])
    assert "Trains leave" not in told
    assert {span.attributes.get("gen_ai.operation.name") for span in found.spans} >= {
        "upsert_memory",
        "search_memory",
        "delete_memory",
    }


def test_another_trace_shows_the_reconcile_with_each_apply(lab: Lab, shop: str) -> None:
    trace = lab.read("memorystore", "support", shop)["status"]["trace"]
    assert trace["generation"] == 1
    read(lab, jaeger.trace_id(trace["traceparent"]), EDGES["reconcile"])
