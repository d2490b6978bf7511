"""Names and labels of a pool's children, its components and ports."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from innervate_kinds.api.names import child_name
from innervate_kinds.parts.redis.part import NAME_LIMIT

APPLICATION = "inferencepool"
"""Value of the label `app.kubernetes.io/name`."""
GATEWAY, ENGINE = "gateway", "engine"
"""The components beside Redis."""
HTTPS_PORT = 8443
ENGINE_PORT = 8080
ENGINE_KEY = "api-key"
"""Key in the Secret that gateways and engines share."""
VARIANT = "innervate.dev/variant"
"""Label on what belongs to one variant: its name."""
RELEASE = "innervate.dev/release"
"""Label on what belongs to one release: its name, which the model keeps short enough for that."""
COST = "innervate.dev/cost-per-hour"
"""Label on an engine's Service: what a node of the variant's ComputePool costs."""
_LONGEST = 63


class Names(NamedTuple):
    """Name of every child of one pool that it has once."""

    gateway: str
    """ServiceAccount, Role, RoleBinding, Service, Deployment, budget and NetworkPolicy of the gateway."""
    config: str
    """ConfigMap with the gateway's configuration."""
    trust: str
    """ConfigMap with the trust anchors."""
    engine: str
    """ServiceAccount, Secret and NetworkPolicy of all engines."""
    redis: str
    """ServiceAccount, Service, StatefulSet, Secret, ConfigMap and NetworkPolicy of Redis."""
    data: str
    """PersistentVolumeClaim."""

    @classmethod
    def of(cls, pool: str) -> Names:
        """Names of the children of the pool of that name."""
        return cls(
            gateway=child_name(pool, "inferencepool"),
            config=child_name(pool, "inferencepool-config"),
            trust=child_name(pool, "inferencepool-trust"),
            engine=child_name(pool, "inferencepool-engine"),
            redis=child_name(pool, "inferencepool-redis", limit=NAME_LIMIT),
            data=child_name(pool, "inferencepool-data"),
        )


def engine_name(pool: str, variant: str, release: str) -> str:
    """Name of the Deployment, Service and budget that serve one release by one variant.

    The release stands in it as a digest where it would not fit, or where the variant's name has a hyphen:
    variant ``a-b`` of release ``c`` must not meet variant ``a`` of release ``b-c``.
    """
    plain = f"inferencepool-{variant}-{release}"
    if "-" not in variant and "." not in release and len(pool) + len(plain) < _LONGEST and "." not in pool:
        return child_name(pool, plain)
    digest = hashlib.sha256(release.encode()).hexdigest()[:8]
    return child_name(pool, f"inferencepool-{variant}-{digest}")
