"""Names of a store's children, its components and ports."""

from __future__ import annotations

from typing import NamedTuple

from innervate_kinds.api.names import child_name
from innervate_kinds.parts.redis.part import NAME_LIMIT

APPLICATION = "memorystore"
"""Value of the label `app.kubernetes.io/name`."""
SERVICE = "service"
"""The component that is the memory service; the other is `REDIS`, behind it."""


class Names(NamedTuple):
    """Name of every child of one store."""

    service: str
    """ServiceAccount, Service, Deployment, PodDisruptionBudget and NetworkPolicy of the memory service."""
    check: str
    """Service that leads to pods that are not ready too, for the operator's questions."""
    config: str
    """ConfigMap with the memory service's configuration."""
    trust: str
    """ConfigMap with the trust anchors."""
    redis: str
    """ServiceAccount, Service, StatefulSet, Secret, ConfigMap and NetworkPolicy of Redis."""
    data: str
    """PersistentVolumeClaim."""

    @classmethod
    def of(cls, store: str) -> Names:
        """Names of the children of the store of that name."""
        return cls(
            service=child_name(store, "memorystore"),
            check=child_name(store, "memorystore-check"),
            config=child_name(store, "memorystore-config"),
            trust=child_name(store, "memorystore-trust"),
            redis=child_name(store, "memorystore-redis", limit=NAME_LIMIT),
            data=child_name(store, "memorystore-data"),
        )
