"""Pods that only look like a room's own say nothing: neither those of other namespaces nor other Jobs'."""

from __future__ import annotations

import copy
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.registry import ROOMS
from kinds_cluster import CONFIG, Cluster

CASES = Path(__file__).parents[2] / "golden/kinds/input"
RUNS = (
    "rlrun/completed",
    "rlrun/gate_passed",
    "rlrun/external_completed",
    "evaljob/out_of_memory",
    "modelrelease/verifying",
    "learningpipeline/trained",
)
SERVICES = ("environment/ready", "inferencepool/ready", "memorystore/not_ready_for_minutes")
FAILED = {"exitCode": 1, "reason": "Error", "message": '{"error": "x"}'}


def told(case: dict[str, Any], cluster: list[dict[str, Any]]) -> Any:
    room = next(room for room in ROOMS if room.kind.kind == case["resource"]["kind"])
    resource, now = room.model.model_validate(case["resource"]), datetime.fromisoformat(case["now"])
    observed = room.observe(resource, Cluster(cluster), {})
    plan = room.plan(resource, observed, CONFIG, now)
    return (
        room.status(resource, observed, plan, (), now),
        plan.apply,
        plan.delete,
        room.probes(resource, observed),
    )


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    return found


def forged(case: dict[str, Any], **metadata: Any) -> list[dict[str, Any]]:
    """The case's pods once more, newer, and their words others: what would count if it were believed."""
    copies = [copy.deepcopy(item) for item in case["cluster"] if item["kind"] == "Pod"]
    assert copies
    for pod in copies:
        pod["metadata"] |= {"name": f"{pod['metadata']['name']}-forged", **metadata}
        pod["metadata"]["creationTimestamp"] = "2027-01-01T00:00:00Z"
        status = pod["status"]
        for container in (
            *(status.get("initContainerStatuses") or ()),
            *(status.get("containerStatuses") or ()),
        ):
            container["state"] = {"terminated": FAILED}
    return copies


@pytest.mark.parametrize("name", [*RUNS, *SERVICES])
def test_pods_of_another_namespace_say_nothing(name: str) -> None:
    case = read(name)
    cluster = [*case["cluster"], *forged(case, namespace="elsewhere", ownerReferences=[])]
    assert told(case, cluster) == told(case, case["cluster"])


@pytest.mark.parametrize("name", RUNS)
def test_pods_that_another_job_controls_say_nothing(name: str) -> None:
    case = read(name)
    other = {"apiVersion": "batch/v1", "kind": "Job", "name": "other", "uid": "other", "controller": True}
    cluster = [*case["cluster"], *forged(case, ownerReferences=[other])]
    assert told(case, cluster) == told(case, case["cluster"])


@pytest.mark.parametrize("name", RUNS)
def test_the_same_pods_would_be_believed_as_the_jobs_own(name: str) -> None:
    case = read(name)
    assert told(case, [*case["cluster"], *forged(case)]) != told(case, case["cluster"])


def test_an_evaluation_of_another_namespace_passes_no_gate() -> None:
    case = read("learningpipeline/gating")
    evaluations = [
        {
            **child.manifest,
            "status": {"endTime": "2026-01-15T11:59:00Z", "verdict": "Passed", "conditions": []},
        }
        for child in told(case, case["cluster"])[1]
        if child.kind.kind == "EvalJob"
    ]
    assert evaluations
    for item in evaluations:
        item["metadata"] = {
            **item["metadata"],
            "labels": item["metadata"]["labels"] | {OWNER_UID: case["resource"]["metadata"]["uid"]},
        }
    assert told(case, [*case["cluster"], *evaluations]) != told(case, case["cluster"])
    for item in evaluations:
        item["metadata"]["namespace"] = "elsewhere"
    assert told(case, [*case["cluster"], *evaluations]) == told(case, case["cluster"])
