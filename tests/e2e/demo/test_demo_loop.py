"""The loop's demonstration comes about as it is told, on a real cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate_demo.loop import scene
from innervate_demo.loop.__main__ import Story

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2700)]


def test_releases_are_served_judged_replaced_and_taken_back(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(lab.cluster.kubeconfig))
    try:
        assert Story(lab.cluster).play(), "requests of callers failed"
    finally:
        lab.kubectl("delete", "namespace", scene.NAMESPACE, "--ignore-not-found", "--wait=false")
