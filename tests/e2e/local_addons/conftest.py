"""Pods to connect from and to, on both nodes of the cluster."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest
from innervate_local.errors import LocalError
from pod_room import PORT, Room, eventually, pod

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innervate_local.cluster import Cluster


@pytest.fixture
def room(cluster: Cluster) -> Iterator[Room]:
    name = f"addons-{uuid.uuid4().hex[:6]}"
    cluster.kubectl("create", "namespace", name)
    try:
        # The controller that makes the account is not waited for by the namespace.
        eventually(lambda: _has_account(cluster, name))
        yield Room(cluster, name)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def pods(room: Room) -> Room:
    """A server on the first node, a friend and a stranger on either."""
    core, edge = (node.name for node in room.cluster.nodes)
    server = pod(
        "server", core, labels={"app": "server"}, command=["python3", "-m", "http.server", str(PORT)]
    )
    server["spec"]["containers"][0] |= {
        "ports": [{"name": "web", "containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
    }
    clients = [
        pod(f"{who}-{node}", node, labels={"app": who}, command=["sleep", "infinity"])
        for who in ("friend", "stranger")
        for node in (core, edge)
    ]
    room.apply(server, *clients)
    room.kubectl("wait", "pods", "--all", "--for=condition=Ready", "--timeout=60s")
    return room


def _has_account(cluster: Cluster, namespace: str) -> bool:
    try:
        found = cluster.kubectl("get", "serviceaccount", "default", "-n", namespace, "--output=json")
    except LocalError:
        return False
    return bool(json.loads(found))
