"""What is wrong with a pool's pods, in the words of its specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.inference_pool.engines import FETCH
from innervate_kinds.inference_pool.gateway import external_keys
from innervate_kinds.inference_pool.names import ENGINE, GATEWAY
from innervate_kinds.inference_pool.redis import redis_of
from innervate_kinds.parts import trouble
from innervate_kinds.parts.redis import trouble as redis_trouble
from innervate_kinds.parts.redis.part import REDIS
from innervate_kinds.parts.releases import KEYS
from innervate_kinds.parts.trouble import Problem

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.inference_pool.model import InferencePool
    from innervate_kinds.parts.pods import ContainerState, Workload

RELEASE_REFUSED, KEYS_MISSING = "ReleaseRefused", "KeysMissing"
_MEMORY_FIELDS = {
    REDIS: "spec.exchangeLog.redis.memory",
    ENGINE: "spec.variants[].resources.limits.memory",
    GATEWAY: "spec.gateway.resources.limits.memory",
}


def problem(pool: InferencePool, workload: Workload, component: str, now: datetime) -> Problem | None:
    """The first known problem of the pods that are not ready; None when nothing is known."""

    def recognize(container: ContainerState) -> Problem | None:
        if container.name == FETCH:
            words = trouble.last_words(container.ended_message)
            return Problem(RELEASE_REFUSED, f"an engine cannot fetch its release: {words}")
        return redis_trouble.recognize(redis_of(pool), container)

    described = trouble.Component(
        owner=pool.metadata,
        name=component,
        mend_secret=_mend_secret(pool, component),
        memory_field=lambda name: _MEMORY_FIELDS.get(name, "its limit"),
        recognize=recognize,
    )
    found = trouble.problem(described, workload, now)
    if found and found.reason == "Crashing" and f'configmap "{KEYS}"' in found.message:
        message = (
            f"ConfigMap {KEYS!r} with the public keys whose signatures count does not exist: `kubectl create "
            f"configmap -n {pool.metadata.namespace} {KEYS} --from-file=NAME=PUBLIC_KEY.pem`"
        )
        return Problem(KEYS_MISSING, message)
    return found


def _mend_secret(pool: InferencePool, component: str) -> str:
    if component == REDIS:
        return redis_trouble.mend_password(redis_of(pool))
    if component == ENGINE:
        return "it is named in spec.artifact.credentials of the ModelRelease"
    keys = [
        f"`kubectl create secret generic -n {pool.metadata.namespace} {key.name} --from-literal={key.key}=…`"
        for _variant, key in external_keys(pool)
    ]
    return f"it is named in spec.variants[].external.apiKey: {', '.join(keys)}"
