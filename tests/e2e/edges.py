"""Which step leads to which: the edges of `trace_edges.yaml`, looked for in the cluster's trace store."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from innervate import jaeger

if TYPE_CHECKING:
    from innervate.jaeger import Trace

    from tests.e2e.lab import Lab

EDGES = yaml.safe_load((Path(__file__).with_name("trace_edges.yaml")).read_text())


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
