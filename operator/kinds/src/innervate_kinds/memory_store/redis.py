"""The Redis of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.memory_store.names import APPLICATION, SERVICE, Names
from innervate_kinds.parts.redis.part import Redis

if TYPE_CHECKING:
    from innervate_kinds.memory_store.model import MemoryStore


def redis_of(store: MemoryStore) -> Redis | None:
    """The store's own Redis; None where its storage is external."""
    storage = store.spec.storage.redis
    if storage is None:
        return None
    names = Names.of(store.metadata.name)
    return Redis(
        owner=store.metadata,
        kind="MemoryStore",
        resource="memorystore",
        application=APPLICATION,
        name=names.redis,
        data=names.data,
        trust=names.trust,
        caller=SERVICE,
        storage=storage,
        field="spec.storage.redis",
        reclaim_policy=store.spec.reclaim_policy,
    )
