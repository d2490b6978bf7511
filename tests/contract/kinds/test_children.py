"""A real API server takes every child as it is planned: known fields only, and restricted pods."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from innervate_kinds.api.plan import Generated, Plan
from innervate_kinds.eval_job.model import EvalJob
from innervate_kinds.inference_pool.model import InferencePool
from innervate_kinds.registry import ROOMS
from innervate_kinds.rl_run.model import RLRun
from kinds_cluster import CONFIG, Cluster, model_release

if TYPE_CHECKING:
    from .conftest import Api

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[3]
EXAMPLES = [
    path
    for kind in ("environment", "evaljob", "inferencepool", "memorystore", "rlrun")
    for path in sorted((ROOT / "deploy/examples" / kind).glob("*.yaml"))
    if path.stem != "jax"  # runs inside the trainer, and has no children
]
POOL = yaml.safe_load((ROOT / "deploy/examples/computepool/minimal.yaml").read_text())
NAMESPACE = "children"
DATASETS = [("ConfigMap", "golden"), ("ConfigMap", "reversal"), ("PersistentVolumeClaim", "datasets")]
"""What the examples read questions and tasks from."""


@pytest.fixture(scope="module")
def namespace(api: Api) -> str:
    """A namespace that takes restricted pods only, with the defaults a controller manager would make."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    code, answer = api.request(
        "POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}}
    )
    assert code == 201, answer
    return NAMESPACE


def plan_of(path: Path, namespace: str) -> Plan:
    manifest = yaml.safe_load(path.read_text())
    manifest["metadata"] |= {"namespace": namespace, "uid": "0b9f0c1e-0000-4000-8000-000000000002"}
    room = next(room for room in ROOMS if room.kind.kind == manifest["kind"])
    resource = room.model.model_validate(manifest)
    arms = resource.arms() if isinstance(resource, InferencePool) else ()
    releases = [model_release(arm.release_ref.name, namespace) for arm in arms]
    if isinstance(resource, EvalJob):
        releases += named_by_evaljobs(namespace)
    if isinstance(resource, RLRun):
        releases += named_by_runs(namespace)
    datasets = [{"kind": kind, "metadata": {"name": name, "namespace": namespace}} for kind, name in DATASETS]
    observed = room.observe(resource, Cluster([POOL, *datasets, *releases]), {})
    return room.plan(resource, observed, CONFIG, datetime(2026, 1, 1, tzinfo=UTC))


def named_by_evaljobs(namespace: str) -> list[dict[str, Any]]:
    """A pool that serves the examples' releases."""
    pool = yaml.safe_load((ROOT / "deploy/examples/inferencepool/minimal.yaml").read_text())
    pool["metadata"] |= {"namespace": namespace, "uid": "0b9f0c1e-0000-4000-8000-000000000003"}
    names = ("assistant-1", "assistant-2")
    pool["spec"]["traffic"] = [
        {"name": f"arm-{number}", "releaseRef": {"name": name}, "weight": 100 * (1 - number), "role": role}
        for number, (name, role) in enumerate(zip(names, ("Stable", "Candidate"), strict=True))
    ]
    routes = {"generation": 0, "acknowledged": 0}
    pool["status"] = {"endpoint": "https://assistant-inferencepool.children.svc:8443", "routes": routes}
    return [
        pool,
        {**POOL, "metadata": {"name": "cpu"}},
        *(model_release(name, namespace) for name in names),
    ]


def named_by_runs(namespace: str) -> list[dict[str, Any]]:
    """The examples' environments, ready; the release they begin from; their nodes."""
    environments = []
    for name in ("jax", "typical"):
        environment = yaml.safe_load((ROOT / f"deploy/examples/environment/{name}.yaml").read_text())
        environment["metadata"] |= {"namespace": namespace, "uid": "0b9f0c1e-0000-4000-8000-000000000004"}
        environment["status"] = {"conditions": [{"type": "Ready", "status": "True", "reason": "Available"}]}
        if name != "jax":
            environment["status"]["endpoint"] = "grpcs://reversal-environment.children.svc:7443"
        environments.append(environment)
    gpu = {**POOL, "metadata": {"name": "gpu"}}
    gpu["spec"] = {**POOL["spec"], "accelerator": {"resource": "nvidia.com/gpu", "count": 1}}
    return [*environments, gpu, model_release("assistant-1", namespace)]


def concrete(value: Any) -> Any:
    """The manifest with every generated secret drawn."""
    if isinstance(value, Generated):
        return "x" * value.length
    if isinstance(value, dict):
        return {key: concrete(each) for key, each in value.items()}
    return value


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_child_is_taken(api: Api, namespace: str, path: Path) -> None:
    plan = plan_of(path, namespace)
    assert plan.apply
    for child in plan.apply:
        path_ = child.kind.path(namespace, child.manifest["metadata"]["name"])
        code, answer = api.request(
            "PATCH",
            path_,
            child.manifest,
            content_type="application/apply-patch+yaml",
            dryRun="All",
            fieldManager="innervate",
            fieldValidation="Strict",
        )
        assert code in (200, 201), (child.kind.kind, answer["message"])
    for child in plan.ensure:
        collection = child.kind.path(namespace)
        code, answer = api.request(
            "POST", collection, concrete(child.manifest), dryRun="All", fieldValidation="Strict"
        )
        assert code == 201, answer["message"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_pod_is_restricted(api: Api, namespace: str, path: Path) -> None:
    templates = [
        child.manifest["spec"]["template"]
        for child in plan_of(path, namespace).apply
        if "template" in child.manifest.get("spec", {})
    ]
    assert templates
    for template in templates:
        account = template["spec"]["serviceAccountName"]
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        api.request("POST", accounts, {"metadata": {"name": account}})
        pod = {"metadata": {"generateName": "restricted-", **template["metadata"]}, "spec": template["spec"]}
        code, answer = api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All")
        assert code == 201, answer["message"]


def test_an_unrestricted_pod_is_refused(api: Api, namespace: str) -> None:
    """The namespace does hold pods to the restricted standard."""
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    api.request("POST", accounts, {"metadata": {"name": "default"}})
    pod = {"metadata": {"name": "root"}, "spec": {"containers": [{"name": "root", "image": "x"}]}}
    code, answer = api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, dryRun="All")
    assert code == 403
    assert "restricted" in answer["message"]
