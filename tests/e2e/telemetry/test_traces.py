"""Every step is visible: the edges of `trace_edges.yaml` are in the trace store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate import Filter, NewRecord, jaeger
from innervate.tracing import traceparent, tracer

from tests.e2e.edges import EDGES, read
from tests.e2e.lab import store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e


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


def test_another_trace_shows_the_reconcile_with_each_apply(lab: Lab) -> None:
    # A store of this test's own: the trace store keeps the newest traces only.
    with lab.namespace("traced") as namespace:
        lab.apply(store("support", namespace, reclaimPolicy="Delete"))
        lab.ready("memorystore", "support", namespace)
        trace = (lab.read("memorystore", "support", namespace) or {})["status"]["trace"]
        assert trace["generation"] == 1
        read(lab, jaeger.trace_id(trace["traceparent"]), EDGES["reconcile"])
