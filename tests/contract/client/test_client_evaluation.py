"""`innervate eval` on a real API server: results that an operator wrote, and what it says without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from command import Innervate
    from innervate.kubectl import Kubectl

pytestmark = pytest.mark.contract

EXAMPLE = Path(__file__).parents[3] / "deploy/examples/evaljob/typical.yaml"
RESULT: dict[str, Any] = {
    "observedGeneration": 1,
    "verdict": "Underpowered",
    "summary": [{"metric": "exact", "value": "0.8500", "low": "0.6211", "high": "0.9679", "n": 20}],
    "comparison": {
        "metric": "exact",
        "difference": "0.0000",
        "low": "-0.2213",
        "high": "0.2213",
        "n": 20,
        "detectable": "0.3345",
    },
    "counts": {"samples": 20, "answered": 20, "errors": 0},
    "report": "pvc://assistant-2-evaljob-data/report.html",
    "endTime": "2026-01-15T12:00:00Z",
    "conditions": [
        {
            "type": type_,
            "status": status,
            "reason": reason,
            "message": f"message of {type_}",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-15T12:00:00Z",
        }
        for type_, status, reason in (
            ("Succeeded", "True", "Completed"),
            ("Passed", "False", "Underpowered"),
        )
    ],
}


@pytest.fixture
def name(kubectl: Kubectl) -> str:
    """An EvalJob without a status."""
    kubectl.run("apply", "-f", str(EXAMPLE))
    return str(yaml.safe_load(EXAMPLE.read_text())["metadata"]["name"])


def end(kubectl: Kubectl, name: str) -> None:
    patch = json.dumps({"status": RESULT})
    kubectl.run("patch", "evaljob", name, "--subresource=status", "--type=merge", f"--patch={patch}")


def test_a_result_is_shown_with_its_bounds(kubectl: Kubectl, innervate: Innervate, name: str) -> None:
    end(kubectl, name)
    done = innervate("eval", "report", name)
    assert done.returncode == 0
    for words in (
        "assistant-2: Underpowered",
        "message of Passed",
        "0.8500",
        "-0.2213",
        "0.3345",
        "0 in error",
    ):
        assert words in done.stdout
    row = kubectl.run("get", "ej", name, "--no-headers").split()
    assert row[:5] == [name, "Underpowered", "0.8500", "20", "Completed"]


def test_a_result_is_json_for_programs(kubectl: Kubectl, innervate: Innervate, name: str) -> None:
    end(kubectl, name)
    found = json.loads(innervate("eval", "report", name, "--output", "json").stdout)
    assert found["name"] == name
    assert {key: found[key] for key in ("verdict", "summary", "comparison", "counts")} == {
        key: RESULT[key] for key in ("verdict", "summary", "comparison", "counts")
    }


def test_what_has_not_ended_says_so(innervate: Innervate, name: str) -> None:
    assert "the operator has not seen it yet" in innervate("eval", "report", name).stdout
    done = innervate("eval", "report", name, "--file", "html")
    assert done.returncode == 1
    assert "has not ended" in done.stderr


def test_what_is_not_there_is_named(innervate: Innervate) -> None:
    done = innervate("eval", "report", "nobody")
    assert done.returncode == 5
    assert "there is no EvalJob 'nobody'" in done.stderr
