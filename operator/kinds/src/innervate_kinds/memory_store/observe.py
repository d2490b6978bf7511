"""Gathers what is there of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import (
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    STATEFUL_SET,
    Reference,
)
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.memory_store import probe
from innervate_kinds.memory_store.names import REDIS, SERVICE, Names
from innervate_kinds.memory_store.state import Claim, Observed
from innervate_kinds.parts import placement, pods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.memory_store.model import MemoryStore


def references(store: MemoryStore) -> Sequence[Reference]:
    """The volume claim, which may be an earlier store's; the pool and what it decides by."""
    namespace = store.metadata.namespace
    claim = Reference(PERSISTENT_VOLUME_CLAIM, namespace, Names.of(store.metadata.name).data)
    return (claim, *placement.references(store.spec.service.placement, store.metadata))


def observe(store: MemoryStore, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read the store's children, the pool it is placed on, and the last answer of its service."""
    names, owner = Names.of(store.metadata.name), store.metadata
    running = reader.owned(POD, owner.uid)
    return Observed(
        redis=pods.workload(pods.mine(reader, owner, STATEFUL_SET, names.redis), running, REDIS),
        service=pods.workload(pods.mine(reader, owner, DEPLOYMENT, names.service), running, SERVICE),
        claim=_claim(reader.get(Reference(PERSISTENT_VOLUME_CLAIM, store.metadata.namespace, names.data))),
        pool=placement.observe(store.spec.service.placement, owner, reader),
        disruption_budget=pods.mine(reader, owner, POD_DISRUPTION_BUDGET, names.service) is not None,
        stats=probes.get(probe.STATS),
    )


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
