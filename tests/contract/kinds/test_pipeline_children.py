"""A real API server takes what a pipeline's steps need, as it is planned."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from innervate_kinds.learning_pipeline.model import LearningPipeline
from innervate_kinds.learning_pipeline.room import ROOM
from kinds_cluster import CONFIG, Cluster

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Plan

    from .conftest import Api

pytestmark = pytest.mark.contract

STEPS = Path(__file__).parents[2] / "golden/kinds/input/learningpipeline"
NAMESPACE = "shop"


@pytest.fixture(scope="module")
def namespace(api: Api) -> str:
    """A namespace that takes restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    code, answer = api.request("POST", "/api/v1/namespaces", {"metadata": metadata})
    assert code in (201, 409), answer
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    api.request("POST", accounts, {"metadata": {"name": "default"}})
    return NAMESPACE


def planned(step: str) -> Plan:
    """Plan of a situation that the golden tests know."""
    case: dict[str, Any] = yaml.safe_load((STEPS / f"{step}.yaml").read_text())
    pipeline = LearningPipeline.model_validate(case["resource"])
    observed = ROOM.observe(pipeline, Cluster(case["cluster"]), {})
    return ROOM.plan(pipeline, observed, CONFIG, datetime.fromisoformat(case["now"]))


def apply(api: Api, path: str, manifest: dict[str, Any], manager: str) -> tuple[int, dict[str, Any]]:
    return api.request(
        "PATCH",
        path,
        manifest,
        content_type="application/apply-patch+yaml",
        dryRun="All",
        fieldManager=manager,
        fieldValidation="Strict",
    )


@pytest.mark.parametrize("step", ["training", "releasing_trained", "gating"])
def test_every_child_is_taken(api: Api, namespace: str, step: str) -> None:
    children = planned(step).apply
    assert children
    for child in children:
        path = child.kind.path(namespace, child.manifest["metadata"]["name"])
        code, answer = apply(api, path, child.manifest, "innervate")
        assert code in (200, 201), (child.kind.kind, answer["message"])


def test_the_training_pod_is_restricted(api: Api, namespace: str) -> None:
    (job,) = (child for child in planned("training").apply if child.kind.kind == "Job")
    template = job.manifest["spec"]["template"]
    pod = {"metadata": {"generateName": "restricted-", **template["metadata"]}, "spec": template["spec"]}
    code, answer = api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All")
    assert code == 201, answer["message"]


@pytest.mark.parametrize("step", ["warming", "canary_decided", "rolling_back", "promoting"])
def test_the_pool_takes_the_traffic_and_says_whose_it_is(api: Api, namespace: str, step: str) -> None:
    case = yaml.safe_load((STEPS / f"{step}.yaml").read_text())
    pool = next(item for item in case["cluster"] if item["kind"] == "InferencePool")
    (patch,) = planned(step).patches
    collection = patch.kind.path(namespace)
    declared = {**pool, "metadata": {"name": "support"}, "spec": {**pool["spec"], "traffic": []}}
    code, made = api.request("POST", collection, declared, fieldManager="kubectl")
    assert code == 201, made
    path = patch.kind.path(namespace, "support")
    try:
        metadata = {**patch.manifest["metadata"], "uid": made["metadata"]["uid"]}
        manifest = {**patch.manifest, "metadata": metadata}
        code, answer = api.request(
            "PATCH",
            path,
            manifest,
            content_type="application/apply-patch+yaml",
            fieldManager=patch.manager,
            fieldValidation="Strict",
            force="true",
        )
        assert code == 200, answer
        assert answer["spec"]["traffic"] == patch.manifest["spec"]["traffic"]
        # Whoever applies traffic of their own is told who holds it.
        theirs = {
            "apiVersion": patch.kind.api_version,
            "kind": patch.kind.kind,
            "metadata": {"name": "support"},
            "spec": {**pool["spec"], "traffic": []},
        }
        code, answer = apply(api, path, theirs, "somebody")
        assert code == 409
        assert "innervate-pipeline" in answer["message"]
    finally:
        api.request("DELETE", path)
