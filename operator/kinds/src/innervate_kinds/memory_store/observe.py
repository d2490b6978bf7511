"""Gathers what is there of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import (
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD_DISRUPTION_BUDGET,
    STATEFUL_SET,
    Reference,
)
from innervate_kinds.memory_store import probe
from innervate_kinds.memory_store.names import SERVICE, Names
from innervate_kinds.memory_store.state import Observed
from innervate_kinds.parts import placement, pods
from innervate_kinds.parts.redis import claim
from innervate_kinds.parts.redis.part import REDIS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.memory_store.model import MemoryStore


def references(store: MemoryStore) -> Sequence[Reference]:
    """The volume claim, which may be an earlier store's; the pool and what it decides by."""
    data = Names.of(store.metadata.name).data
    return (
        Reference(PERSISTENT_VOLUME_CLAIM, store.metadata.namespace, data),
        *placement.references(store.spec.service.placement, store.metadata),
    )


def observe(store: MemoryStore, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read the store's children, the pool it is placed on, and the last answer of its service."""
    names = Names.of(store.metadata.name)
    owner = store.metadata
    running = pods.owned(reader, owner)
    return Observed(
        redis=pods.workload(pods.mine(reader, owner, STATEFUL_SET, names.redis), running, REDIS),
        service=pods.workload(pods.mine(reader, owner, DEPLOYMENT, names.service), running, SERVICE),
        claim=claim.read(reader.get(Reference(PERSISTENT_VOLUME_CLAIM, owner.namespace, names.data))),
        pool=placement.observe(store.spec.service.placement, owner, reader),
        disruption_budget=pods.mine(reader, owner, POD_DISRUPTION_BUDGET, names.service) is not None,
        stats=probes.get(probe.STATS),
    )
