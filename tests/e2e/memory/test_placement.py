"""Where a store's service runs: on the nodes of the ComputePool that it names."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.lab import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

EDGE = {"innervate.dev/pool": "edge"}


@contextmanager
def pool(lab: Lab, **spec: Any) -> Iterator[str]:
    """ComputePool of a test's own."""
    name = f"pool-{uuid.uuid4().hex[:6]}"
    lab.apply(
        {
            "apiVersion": "innervate.dev/v1alpha1",
            "kind": "ComputePool",
            "metadata": {"name": name},
            "spec": {"class": "edge", **spec},
        }
    )
    try:
        yield name
    finally:
        lab.kubectl("delete", "computepool", name)


def placed(name: str, namespace: str, pool_name: str) -> dict[str, Any]:
    """A store with one service pod on a pool."""
    service = {"replicas": 1, "placement": {"computePoolRef": {"name": pool_name}}}
    return store(name, namespace, reclaimPolicy="Delete", service=service)


def test_a_store_on_a_pool_runs_on_its_nodes_once_the_namespace_is_allowed(lab: Lab) -> None:
    allowed = {"matchLabels": {"team": "harbour"}}
    with (
        pool(lab, nodeSelector=EDGE, connectivity="Intermittent", allowedNamespaces=allowed) as edge,
        lab.namespace("placed") as namespace,
    ):
        lab.apply(placed("quay", namespace, edge))
        message = lab.told("quay", namespace, "ComputePoolNotAllowed")
        assert edge in message
        assert namespace in message
        assert lab.read("deployment", "quay-memorystore", namespace) is None

        lab.kubectl("label", "namespace", namespace, "team=harbour")
        lab.ready("memorystore", "quay", namespace)
        (pod,) = lab.pods(namespace, "app.kubernetes.io/component=service")
        assert pod["spec"]["nodeName"] == lab.cluster.edge.name
        with lab.memory("quay", namespace) as memory:
            memory.put("Berth four is free.")
            assert len(memory.search("berth")) == 1


def test_a_pool_without_a_ready_node_is_told(lab: Lab) -> None:
    with pool(lab, nodeSelector=EDGE) as edge, lab.namespace("placed") as namespace:
        lab.ready("computepool", edge)
        lab.kubectl("cordon", lab.cluster.edge.name)
        try:
            lab.eventually(lambda: lab.condition("computepool", edge, "Ready").get("status") == "False")
            lab.apply(placed("quay", namespace, edge))
            message = lab.told("quay", namespace, "NoReadyNodes")
            assert f"kubectl describe computepool {edge}" in message
        finally:
            lab.kubectl("uncordon", lab.cluster.edge.name)
        lab.ready("memorystore", "quay", namespace)
