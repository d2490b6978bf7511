"""What the end of a Redis container means, and how its password is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.parts.redis.part import PASSWORD_KEY, REDIS
from innervate_kinds.parts.trouble import Problem

if TYPE_CHECKING:
    from innervate_kinds.parts.pods import ContainerState
    from innervate_kinds.parts.redis.part import Redis

_DISK_FULL = ("No space left", "Short write while writing to the AOF file")
"""What Redis says of a full disk before it ends rather than acknowledge what is not written."""


def recognize(redis: Redis, container: ContainerState) -> Problem | None:
    """`DiskFull` where that is what Redis ended of."""
    if container.name != REDIS or not any(sign in container.ended_message for sign in _DISK_FULL):
        return None
    size = redis.storage.size
    return Problem("DiskFull", f"the volume of Redis is full; raise {redis.field}.size (now {size})")


def mend_password(redis: Redis) -> str:
    """How to make the Secret with the password anew."""
    return (
        f"Redis takes any password that stands there: `kubectl create secret generic -n {redis.namespace} "
        f'{redis.name} --from-literal={PASSWORD_KEY}="$(openssl rand -hex 24)"`'
    )


def password_refused(redis: Redis) -> str:
    """What to do where Redis refuses the password that stands in the Secret."""
    return (
        f"Redis refuses the password in Secret {redis.name!r}, which has changed since Redis started; "
        f"restart it: `kubectl rollout restart -n {redis.namespace} statefulset {redis.name}`"
    )
