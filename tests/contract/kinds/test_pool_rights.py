"""The operator may give a gateway the rights that a pool's plan gives it, and could not without its own."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from innervate_kinds.api.kind import ROLE, ROLE_BINDING, Kind
from innervate_kinds.inference_pool.model import InferencePool
from innervate_kinds.inference_pool.room import ROOM
from kinds_cluster import CONFIG, Cluster
from kubernetes import client, config

if TYPE_CHECKING:
    from innervate_local.control_plane import ControlPlane

    from .conftest import Api

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[3]
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False)
BINDING = Kind(
    "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)


def bind(api: Api, user: str, rules: list[dict[str, Any]]) -> None:
    """Give a user rules everywhere."""
    code, answer = api.request("POST", CLUSTER_ROLE.path(), {"metadata": {"name": user}, "rules": rules})
    assert code == 201, answer["message"]
    role = {"apiGroup": CLUSTER_ROLE.group, "kind": CLUSTER_ROLE.kind, "name": user}
    subject = {"kind": "User", "name": user, "apiGroup": CLUSTER_ROLE.group}
    binding = {"metadata": {"name": user}, "roleRef": role, "subjects": [subject]}
    code, answer = api.request("POST", BINDING.path(), binding)
    assert code == 201, answer["message"]


def rights() -> list[dict[str, Any]]:
    """What the chart gives the operator for its rooms."""
    generated = yaml.safe_load((ROOT / "charts/innervate/files/rbac.yaml").read_text())
    return [*generated["clusterRules"], *generated["namespacedRules"]]


def granted() -> list[dict[str, Any]]:
    """Role and RoleBinding of a pool's gateway."""
    manifest = yaml.safe_load((ROOT / "deploy/examples/inferencepool/minimal.yaml").read_text())
    manifest["metadata"] |= {"namespace": "default", "uid": "0b9f0c1e-0000-4000-8000-000000000003"}
    pool = InferencePool.model_validate(manifest)
    plan = ROOM.plan(pool, ROOM.observe(pool, Cluster([]), {}), CONFIG, datetime(2026, 1, 1, tzinfo=UTC))
    return [child.manifest for child in plan.apply if child.kind in (ROLE, ROLE_BINDING)]


def create(api_server: ControlPlane, user: str, manifest: dict[str, Any]) -> int:
    """Try a creation as a user; gives the status code."""
    as_user = config.new_client_from_config(str(api_server.kubeconfig))
    as_user.set_default_header("Impersonate-User", user)
    rbac = client.RbacAuthorizationV1Api(as_user)
    make = {
        ROLE.kind: rbac.create_namespaced_role_with_http_info,
        ROLE_BINDING.kind: rbac.create_namespaced_role_binding_with_http_info,
    }[manifest["kind"]]
    try:
        _made, status, _headers = make("default", manifest, dry_run="All")
    except client.ApiException as error:
        return int(error.status)
    return int(status)


def test_the_operator_grants_what_the_plan_says(api: Api, api_server: ControlPlane) -> None:
    bind(api, "operator", rights())
    role, binding = granted()
    code, answer = api.request("POST", ROLE.path("default"), role)
    assert code == 201, answer["message"]
    try:
        other = copy.deepcopy(role)
        other["metadata"]["name"] = "another"
        assert create(api_server, "operator", other) == 201
        assert create(api_server, "operator", binding) == 201
    finally:
        api.request("DELETE", ROLE.path("default", role["metadata"]["name"]))


def test_an_operator_that_may_not_read_endpoint_slices_could_not(api: Api, api_server: ControlPlane) -> None:
    bind(api, "blind", [rule for rule in rights() if "endpointslices" not in rule["resources"]])
    role, _binding = granted()
    assert create(api_server, "blind", role) == 403
