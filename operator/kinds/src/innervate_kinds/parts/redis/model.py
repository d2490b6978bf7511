"""What a user declares of a Redis."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.quantity import PositiveQuantity, parse
from innervate_kinds.api.resource import Model
from innervate_kinds.api.room import Rule
from innervate_kinds.api.scheduling import ObjectName, Resources

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_MEMORY = 16 * 2**20


class ReclaimPolicy(StrEnum):
    """What becomes of the data when its resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Durability(StrEnum):
    """What a write waits for before it is acknowledged."""

    ALWAYS = "Always"
    EVERY_SECOND = "EverySecond"


class RedisStorage(Model):
    """A Redis of the resource's own, on a volume."""

    size: PositiveQuantity = "1Gi"
    """Size of the volume; may grow where the storage class allows it, never shrink. Three times
    `memory` leaves room for rewriting the log."""
    memory: PositiveQuantity = "256Mi"
    """Memory for the data, all of which Redis holds in memory; at least 16Mi. When it is full, writes
    are refused and nothing is evicted."""
    storage_class_name: ObjectName | None = None
    """Storage class of the volume; left out, the cluster's default. Cannot be changed."""
    durability: Durability = Durability.ALWAYS
    """`Always`: a write is on disk before it is acknowledged. `EverySecond`: faster, and a crash may
    lose the last second."""
    resources: Resources | None = None
    """Compute resources of the Redis container; left out, they follow from `memory`."""


def rules(path: str, of: Callable[[Any], RedisStorage | None], *, what: str) -> tuple[Rule, ...]:
    """CEL rules of a Redis that stands at a path.

    Parameters
    ----------
    path
        Where it stands: ``spec.storage.redis``.
    of
        Finds it in a resource.
    what
        Kind of the resource, for the messages.
    """

    def grows(resource: Any, old: Any) -> bool:
        new, before = of(resource), of(old) if old else None
        return new is None or before is None or parse(new.size) >= parse(before.size)

    def same_class(resource: Any, old: Any) -> bool:
        new, before = of(resource), of(old) if old else None
        return new is None or before is None or new.storage_class_name == before.storage_class_name

    def memory_enough(resource: Any, _old: Any) -> bool:
        redis = of(resource)
        return redis is None or parse(redis.memory) >= _LEAST_MEMORY

    return (
        Rule(
            path=f"{path}.size",
            rule="quantity(self).compareTo(quantity(oldSelf)) >= 0",
            message="the size may grow but never shrink",
            holds=grows,
        ),
        Rule(
            path=f"{path}.memory",
            rule="quantity(self).compareTo(quantity('16Mi')) >= 0",
            message="the memory must be at least 16Mi",
            holds=memory_enough,
        ),
        Rule(
            path=path,
            rule="has(self.storageClassName) == has(oldSelf.storageClassName) && "
            "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            message=f"storageClassName cannot be changed; create another {what}",
            holds=same_class,
        ),
    )
