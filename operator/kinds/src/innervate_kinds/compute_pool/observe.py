"""Gathers the nodes of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import NODE, Reference
from innervate_kinds.api.quantity import parse
from innervate_kinds.compute_pool.names import READY_CONDITION
from innervate_kinds.compute_pool.state import Observed, PoolNode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.compute_pool.model import ComputePool


def references(_pool: ComputePool) -> Sequence[Reference]:
    """Every node: its labels may put it into the pool or take it out."""
    return (Reference(NODE, None, ""),)


def observe(pool: ComputePool, reader: Reader, _probes: Mapping[str, ProbeResult]) -> Observed:
    """Read the nodes that carry the pool's labels."""
    wanted = pool.spec.node_selector.items()
    nodes = [
        _node(node)
        for node in reader.list(NODE)
        if wanted <= (node["metadata"].get("labels") or {}).items()
        and not node["metadata"].get("deletionTimestamp")
    ]
    return Observed(nodes=tuple(sorted(nodes, key=lambda node: node.name)))


def _node(node: Mapping[str, Any]) -> PoolNode:
    status = node.get("status") or {}
    ready = any(
        condition["type"] == READY_CONDITION and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    )
    return PoolNode(
        name=node["metadata"]["name"],
        ready=ready,
        schedulable=not (node.get("spec") or {}).get("unschedulable", False),
        allocatable={name: parse(amount) for name, amount in (status.get("allocatable") or {}).items()},
    )
