"""Which Redis is meant: whose it is, how its children are called, who may connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from innervate_kinds.api.names import ADOPT

if TYPE_CHECKING:
    from innervate_kinds.api.resource import ObjectMeta
    from innervate_kinds.parts.redis.model import ReclaimPolicy, RedisStorage

REDIS = "redis"
"""The component, and the container."""
PORT = 6379
PASSWORD_KEY = "password"  # noqa: S105  a key's name, not a password
PASSWORD_PATH = "/etc/innervate/redis"  # noqa: S105  a path, not a password
"""Where its callers mount the password."""
NAME_LIMIT = 52
"""Longest name: a pod label appends a digest to the name of a StatefulSet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redis:
    """One Redis.

    Parameters
    ----------
    owner
        Metadata of the resource that it belongs to.
    kind, resource
        Kind of that resource, and what kubectl calls it without doubt.
    application
        Value of the label `app.kubernetes.io/name`.
    name
        Name of its ServiceAccount, Service, StatefulSet, Secret, ConfigMap and NetworkPolicy.
    data
        Name of its PersistentVolumeClaim.
    trust
        Name of the ConfigMap with the trust anchors, which the owner makes.
    caller
        Component whose pods may connect.
    storage
        What the user declares.
    field
        Where that stands in the resource, for messages.
    reclaim_policy
        What becomes of the volume.
    """

    owner: ObjectMeta
    kind: str
    resource: str
    application: str
    name: str
    data: str
    trust: str
    caller: str
    storage: RedisStorage
    field: str
    reclaim_policy: ReclaimPolicy

    @property
    def namespace(self) -> str:
        """Namespace of everything."""
        return self.owner.namespace or ""

    @property
    def adopts(self) -> bool:
        """Whether data that an earlier resource of the name retained may be taken over."""
        return self.owner.annotations.get(ADOPT) == "true"
