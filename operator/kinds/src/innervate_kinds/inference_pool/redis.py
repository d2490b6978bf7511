"""The Redis of a pool's exchange log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.inference_pool.names import APPLICATION, GATEWAY, Names
from innervate_kinds.parts.redis.part import Redis

if TYPE_CHECKING:
    from innervate_kinds.inference_pool.model import InferencePool


def redis_of(pool: InferencePool) -> Redis:
    """The Redis in which a pool keeps its exchange log."""
    names = Names.of(pool.metadata.name)
    return Redis(
        owner=pool.metadata,
        kind="InferencePool",
        # Gateway API's inference extension has a kind of the same name.
        resource="ipool",
        application=APPLICATION,
        name=names.redis,
        data=names.data,
        trust=names.trust,
        caller=GATEWAY,
        storage=pool.spec.exchange_log.redis,
        field="spec.exchangeLog.redis",
        reclaim_policy=pool.spec.exchange_log.reclaim_policy,
    )
