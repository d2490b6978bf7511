"""The loop's demonstration comes about as it is told, on a real cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate import jaeger
from innervate_demo.loop import scene
from innervate_demo.loop.__main__ import Story

from tests.e2e.edges import EDGES, read

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2700)]


def test_releases_are_served_judged_replaced_and_taken_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(lab.cluster.kubeconfig))
    try:
        assert Story(lab.cluster).play(), "requests of callers failed"
        for kind, name, edges in (
            ("modelrelease", "assistant-a", "model release"),
            ("evaljob", "assistant-a", "eval job"),
        ):
            traced = (lab.read(kind, name, scene.NAMESPACE) or {})["status"]["trace"]
            read(lab, jaeger.trace_id(traced["traceparent"]), EDGES[edges])
    finally:
        lab.kubectl("delete", "namespace", scene.NAMESPACE, "--ignore-not-found", "--wait=false")
