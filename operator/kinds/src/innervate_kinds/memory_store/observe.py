"""Gathers what is there of a store."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import (
    DEPLOYMENT,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    STATEFUL_SET,
    Kind,
    Reference,
)
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.network import NAMESPACE_NAME
from innervate_kinds.compute_pool.model import COMPUTE_POOL, ComputePool
from innervate_kinds.memory_store import probe
from innervate_kinds.memory_store.names import REDIS, SERVICE, Names
from innervate_kinds.memory_store.state import Claim, ContainerState, Observed, PodState, Pool, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.memory_store.model import MemoryStore


def references(store: MemoryStore) -> Sequence[Reference]:
    """The volume claim, which may be an earlier store's; the pool and what it decides by."""
    namespace = store.metadata.namespace
    claim = Reference(PERSISTENT_VOLUME_CLAIM, namespace, Names.of(store.metadata.name).data)
    placement = store.spec.service.placement
    if placement is None:
        return (claim,)
    pool = Reference(COMPUTE_POOL, None, placement.compute_pool_ref.name)
    return (claim, pool, Reference(NAMESPACE, None, namespace or ""))


def observe(store: MemoryStore, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read the store's children, the pool it is placed on, and the last answer of its service."""
    names = Names.of(store.metadata.name)
    pods = reader.owned(POD, store.metadata.uid)
    return Observed(
        redis=_workload(_mine(store, reader, STATEFUL_SET, names.redis), pods, REDIS),
        service=_workload(_mine(store, reader, DEPLOYMENT, names.service), pods, SERVICE),
        claim=_claim(reader.get(Reference(PERSISTENT_VOLUME_CLAIM, store.metadata.namespace, names.data))),
        pool=_pool(store, reader),
        disruption_budget=_mine(store, reader, POD_DISRUPTION_BUDGET, names.service) is not None,
        stats=probes.get(probe.STATS),
    )


def _mine(store: MemoryStore, reader: Reader, kind: Kind, name: str) -> Mapping[str, Any] | None:
    child = reader.get(Reference(kind, store.metadata.namespace, name))
    mine = child and (child["metadata"].get("labels") or {}).get(OWNER_UID) == store.metadata.uid
    return child if mine else None


def _claim(claim: Mapping[str, Any] | None) -> Claim | None:
    if claim is None:
        return None
    metadata = claim["metadata"]
    return Claim(
        owner_uid=(metadata.get("labels") or {}).get(OWNER_UID, ""),
        owned=bool(metadata.get("ownerReferences")),
        deleting=bool(metadata.get("deletionTimestamp")),
        phase=(claim.get("status") or {}).get("phase", "Pending"),
    )


def _pool(store: MemoryStore, reader: Reader) -> Pool | None:
    placement = store.spec.service.placement
    found = placement and reader.get(Reference(COMPUTE_POOL, None, placement.compute_pool_ref.name))
    if not found:
        return None
    pool = ComputePool.model_validate(found)
    name = store.metadata.namespace or ""
    namespace = reader.get(Reference(NAMESPACE, None, name)) or {"metadata": {}}
    labels = {NAMESPACE_NAME: name, **(namespace["metadata"].get("labels") or {})}
    allowed = pool.spec.allowed_namespaces
    return Pool(
        spec=pool.spec,
        allowed=allowed is None or allowed.selects(labels),
        ready_nodes=pool.status.ready_nodes if pool.status else None,
    )


def _workload(
    workload: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]], component: str
) -> Workload | None:
    if workload is None:
        return None
    status = workload.get("status") or {}
    updated = status.get("updatedReplicas", 0)
    own = [
        _pod(pod)
        for pod in pods
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == component
        and not pod["metadata"].get("deletionTimestamp")
    ]
    return Workload(
        current=status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0),
        wanted=workload["spec"].get("replicas", 1),
        updated=updated,
        available=status.get("availableReplicas", 0),
        old=max(status.get("replicas", 0) - updated, 0),
        refused=next(
            (
                condition.get("message", "")
                for condition in status.get("conditions") or ()
                if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
            ),
            "",
        ),
        pods=tuple(sorted(own, key=lambda pod: (pod.created, pod.name))),
    )


def _pod(pod: Mapping[str, Any]) -> PodState:
    status = pod.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    waits = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return PodState(
        name=pod["metadata"]["name"],
        ready=conditions.get("Ready", {}).get("status") == "True",
        created=_time(pod["metadata"]["creationTimestamp"]),
        unschedulable=scheduled.get("message", "") if waits else "",
        unschedulable_since=_time(scheduled["lastTransitionTime"]) if waits else None,
        containers=tuple(_container(state) for state in states),
    )


def _container(status: Mapping[str, Any]) -> ContainerState:
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return ContainerState(
        name=status["name"],
        image=status.get("image", ""),
        ready=status.get("ready", False),
        running=bool(status.get("started")) and "running" in state,
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        ended=ended.get("reason", ""),
        ended_message=ended.get("message", ""),
        exit_code=ended.get("exitCode", 0),
    )


def _time(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
