"""Tells how many nodes a pool has and what they offer."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.compute_pool.model import ComputePoolStatus, Connectivity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.compute_pool.model import ComputePool
    from innervate_kinds.compute_pool.state import Observed, PoolNode

NODES_READY = "NodesReady"


class Reason(StrEnum):
    """Why a condition of a ComputePool is as it is."""

    VALID = "Valid"
    """The pool's specification is accepted."""
    NODES_READY = "NodesReady"
    """At least one node of the pool is ready."""
    NO_NODES = "NoNodes"
    """No node carries the labels of `spec.nodeSelector`."""
    NO_READY_NODES = "NoReadyNodes"
    """Nodes belong to the pool, but none of them is ready and accepts pods."""
    NO_ACCELERATOR = "NoAccelerator"
    """Nodes are ready, but none has the accelerator that `spec.accelerator` names."""
    OUT_OF_CONTACT = "OutOfContact"
    """An intermittently connected pool has no node that reports; pods there run on."""


def status(
    pool: ComputePool, observed: Observed, _plan: Plan, _failures: Sequence[Failure], now: datetime
) -> ComputePoolStatus:
    """Count the nodes and add up what the ready ones offer."""
    ready = [node for node in observed.nodes if _usable(pool, node)]
    nodes_ready = _nodes_ready(pool, observed, ready)
    return ComputePoolStatus(
        observed_generation=pool.metadata.generation,
        nodes=len(observed.nodes),
        ready_nodes=len(ready),
        allocatable=_allocatable(pool, ready),
        last_contact_time=_last_contact(pool, lost=not ready, now=now),
        conditions=(
            conditions.true(conditions.ACCEPTED, Reason.VALID),
            nodes_ready,
            conditions.summarize(conditions.READY, [nodes_ready], reason=Reason.NODES_READY),
        ),
    )


def _usable(pool: ComputePool, node: PoolNode) -> bool:
    return node.ready and node.schedulable and _equipped(pool, node)


def _equipped(pool: ComputePool, node: PoolNode) -> bool:
    accelerator = pool.spec.accelerator
    return accelerator is None or node.allocatable.get(accelerator.resource, 0) >= accelerator.count


def _nodes_ready(pool: ComputePool, observed: Observed, ready: list[PoolNode]) -> Condition:
    if ready:
        return conditions.true(NODES_READY, Reason.NODES_READY)
    labels = ",".join(f"{key}={value}" for key, value in sorted(pool.spec.node_selector.items()))
    show = f"kubectl get nodes{f' -l {labels}' if labels else ''}"
    if not observed.nodes:
        message = f"no node carries the labels of spec.nodeSelector ({labels or 'none'}); see `{show}`"
        return conditions.false(NODES_READY, Reason.NO_NODES, message)
    if pool.spec.accelerator and any(node.ready and node.schedulable for node in observed.nodes):
        wanted = f"{pool.spec.accelerator.count} {pool.spec.accelerator.resource}"
        message = f"no ready node offers {wanted}; is its device plugin running? See `{show} -o yaml`"
        return conditions.false(NODES_READY, Reason.NO_ACCELERATOR, message)
    if pool.spec.connectivity is Connectivity.INTERMITTENT:
        message = f"no node of this intermittently connected pool reports; pods there run on; see `{show}`"
        return conditions.false(NODES_READY, Reason.OUT_OF_CONTACT, message)
    message = f"no node of the pool is ready and accepts pods; see `{show}`"
    return conditions.false(NODES_READY, Reason.NO_READY_NODES, message)


def _allocatable(pool: ComputePool, ready: list[PoolNode]) -> dict[str, str] | None:
    names = ["cpu", "memory"] + ([pool.spec.accelerator.resource] if pool.spec.accelerator else [])
    if not ready:
        # Left out: server-side apply makes null of a map that is applied without its former entries.
        return None
    sums = {
        name: sum((node.allocatable.get(name, Decimal(0)) for node in ready), Decimal(0)) for name in names
    }
    return {name: f"{amount.normalize():f}" for name, amount in sums.items()}


def _last_contact(pool: ComputePool, *, lost: bool, now: datetime) -> datetime | None:
    if not lost or pool.status is None:
        return None
    if pool.status.last_contact_time:
        return pool.status.last_contact_time
    return now.replace(microsecond=0) if pool.status.ready_nodes else None
