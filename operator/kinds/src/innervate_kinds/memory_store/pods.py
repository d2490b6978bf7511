"""What is wrong with a store's pods, in the words of its specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.memory_store.redis import redis_of
from innervate_kinds.parts import trouble
from innervate_kinds.parts.redis import trouble as redis_trouble
from innervate_kinds.parts.redis.part import REDIS

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.memory_store.model import MemoryStore
    from innervate_kinds.parts.pods import ContainerState, Workload
    from innervate_kinds.parts.trouble import Problem


def show(store: MemoryStore, component: str) -> str:
    """Command that shows the pods of a component."""
    return trouble.show(store.metadata, component)


def problem(store: MemoryStore, workload: Workload, component: str, now: datetime) -> Problem | None:
    """The first known problem of the pods that are not ready; None when nothing is known."""
    redis = redis_of(store)

    def recognize(container: ContainerState) -> Problem | None:
        return redis_trouble.recognize(redis, container) if redis else None

    described = trouble.Component(
        owner=store.metadata,
        name=component,
        mend_secret=redis_trouble.mend_password(redis) if redis else _mend_url(store),
        memory_field=_memory_field,
        recognize=recognize,
    )
    return trouble.problem(described, workload, now)


def _memory_field(container: str) -> str:
    return "spec.storage.redis.memory" if container == REDIS else "spec.service.resources.limits.memory"


def _mend_url(store: MemoryStore) -> str:
    external = store.spec.storage.external
    if external is None:
        return "create it"
    reference = external.url_from.secret_key_ref
    return (
        "it is named in spec.storage.external.urlFrom: `kubectl create secret generic "
        f"-n {store.metadata.namespace} {reference.name} --from-literal={reference.key}=rediss://…`"
    )
