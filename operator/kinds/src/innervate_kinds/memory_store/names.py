"""Names of a store's children, its components and ports."""

from __future__ import annotations

from typing import NamedTuple

from innervate_kinds.api.names import child_name

APPLICATION = "memorystore"
"""Value of the label `app.kubernetes.io/name`."""
SERVICE, REDIS = "service", "redis"
"""The components: the memory service, and the Redis behind it."""
REDIS_PORT = 6379
PASSWORD_KEY = "password"  # noqa: S105  a key's name, not a password
_STATEFUL_SET_LIMIT = 52
"""A pod label appends a digest to the name of a StatefulSet."""


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
            redis=child_name(store, "memorystore-redis", limit=_STATEFUL_SET_LIMIT),
            data=child_name(store, "memorystore-data"),
        )


def host(service: str, namespace: str | None) -> str:
    """DNS name of a Service inside the cluster."""
    return f"{service}.{namespace}.svc"
