"""What a pool's specification must hold beyond its types: in CEL for the API server, and in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.network import FORBIDDEN, FORBIDDEN_MESSAGE, is_forbidden
from innervate_kinds.api.room import Rule
from innervate_kinds.parts.redis import model as redis

if TYPE_CHECKING:
    from innervate_kinds.inference_pool.model import InferencePool

_ALL = 100


def _external_declared(pool: InferencePool) -> bool:
    return all(
        (variant.external is not None) == (variant.engine == "External") for variant in pool.spec.variants
    )


def _own_pods_only(pool: InferencePool) -> bool:
    return all(
        variant.external is None or (variant.placement is None and variant.resources is None)
        for variant in pool.spec.variants
    )


def _hosts_allowed(pool: InferencePool) -> bool:
    return not any(variant.external and is_forbidden(variant.external.url) for variant in pool.spec.variants)


def _release_or_external(pool: InferencePool) -> bool:
    external = [variant.engine == "External" for variant in pool.spec.variants]
    return all(external) if pool.spec.model.release_ref is None else not any(external)


def _traffic_of_releases(pool: InferencePool) -> bool:
    return not pool.spec.traffic or pool.spec.model.release_ref is not None


def _variants_unique(pool: InferencePool) -> bool:
    names = [variant.name for variant in pool.spec.variants]
    return len(set(names)) == len(names)


def _arms_unique(pool: InferencePool) -> bool:
    names = [arm.name for arm in pool.spec.traffic]
    return len(set(names)) == len(names)


def _weights_whole(pool: InferencePool) -> bool:
    return not pool.spec.traffic or sum(arm.weight for arm in pool.spec.traffic) == _ALL


def _one_stable(pool: InferencePool) -> bool:
    return not pool.spec.traffic or [str(arm.role) for arm in pool.spec.traffic].count("Stable") == 1


def _durable(pool: InferencePool) -> bool:
    return pool.spec.exchange_log.redis.durability == "Always"


def _feedback_in_time(pool: InferencePool) -> bool:
    log = pool.spec.exchange_log
    return log.feedback_seconds <= log.retention_seconds


RULES = (
    Rule(
        path="spec.variants[]",
        rule="has(self.external) == (self.engine == 'External')",
        message="external must be set with engine External, and only then",
        holds=lambda pool, _old: _external_declared(pool),
    ),
    Rule(
        path="spec.variants[]",
        rule="!has(self.external) || (!has(self.placement) && !has(self.resources))",
        message="an External variant has no pods: leave out placement and resources",
        holds=lambda pool, _old: _own_pods_only(pool),
    ),
    Rule(
        path="spec.variants[].external.url",
        rule=f"!self.matches('{FORBIDDEN}')",
        message=FORBIDDEN_MESSAGE,
        holds=lambda pool, _old: _hosts_allowed(pool),
    ),
    Rule(
        path="spec.variants",
        rule="self.all(one, self.exists_one(other, other.name == one.name))",
        message="the names of variants must differ",
        holds=lambda pool, _old: _variants_unique(pool),
    ),
    Rule(
        path="spec",
        rule="has(self.model.releaseRef) ? self.variants.all(one, one.engine != 'External') : "
        "self.variants.all(one, one.engine == 'External')",
        message="model.releaseRef must be set where engines load releases, and left out where every "
        "variant is External; a pool has variants of one sort",
        holds=lambda pool, _old: _release_or_external(pool),
    ),
    Rule(
        path="spec",
        rule="!has(self.traffic) || size(self.traffic) == 0 || has(self.model.releaseRef)",
        message="traffic shares requests among releases, which External variants do not have; leave it out",
        holds=lambda pool, _old: _traffic_of_releases(pool),
    ),
    Rule(
        path="spec.traffic",
        rule="size(self) == 0 || self.map(one, one.weight).sum() == 100",
        message="the weights must sum to 100",
        holds=lambda pool, _old: _weights_whole(pool),
    ),
    Rule(
        path="spec.traffic",
        rule="self.all(one, self.exists_one(other, other.name == one.name))",
        message="the names of arms must differ",
        holds=lambda pool, _old: _arms_unique(pool),
    ),
    Rule(
        path="spec.traffic",
        rule="size(self) == 0 || self.exists_one(one, one.role == 'Stable')",
        message="exactly one arm must have the role Stable",
        holds=lambda pool, _old: _one_stable(pool),
    ),
    Rule(
        path="spec.exchangeLog",
        # A default is judged before those below it are filled in.
        rule="!has(self.feedbackSeconds) || !has(self.retentionSeconds) || "
        "self.feedbackSeconds <= self.retentionSeconds",
        message="feedbackSeconds must not be longer than retentionSeconds",
        holds=lambda pool, _old: _feedback_in_time(pool),
    ),
    Rule(
        path="spec.exchangeLog.redis",
        rule="!has(self.durability) || self.durability == 'Always'",
        message="durability must be Always: an answer ends only once its record is on disk",
        holds=lambda pool, _old: _durable(pool),
    ),
    *redis.rules("spec.exchangeLog.redis", lambda pool: pool.spec.exchange_log.redis, what="InferencePool"),
)
"""In the order of the CRD."""
