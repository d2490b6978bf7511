"""The children that a Redis is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api import network, workload
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
)
from innervate_kinds.api.plan import Child, Generated
from innervate_kinds.parts.redis.model import ReclaimPolicy
from innervate_kinds.parts.redis.part import PASSWORD_KEY, PORT, REDIS
from innervate_kinds.parts.redis.pod import conf, pod

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.parts.redis.part import Redis


def password(redis: Redis) -> Child:
    """Password of Redis, drawn once and never read by the operator."""
    return _child(redis, SECRET, type="Opaque", stringData={PASSWORD_KEY: Generated()})


def children(redis: Redis, config: Config) -> tuple[Child, ...]:
    """Redis on its volume, in the order of applying."""
    text = conf(redis.storage)
    selector = workload.selector(redis.owner, component=REDIS)
    port = {"name": "redis", "port": PORT, "targetPort": "redis", "protocol": "TCP"}
    callers = {"podSelector": {"matchLabels": workload.selector(redis.owner, component=redis.caller)}}
    return (
        _child(redis, SERVICE_ACCOUNT, automountServiceAccountToken=False),
        _child(redis, CONFIG_MAP, data={"redis.conf": text}),
        _volume(redis),
        _child(
            redis,
            NETWORK_POLICY,
            spec={
                "podSelector": {"matchLabels": selector},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [callers], "ports": [network.port(PORT)]}],
                "egress": [network.dns(), network.identity(config)],
            },
        ),
        _child(redis, SERVICE, spec={"clusterIP": "None", "selector": selector, "ports": [port]}),
        _child(
            redis,
            STATEFUL_SET,
            spec={
                "replicas": 1,
                "serviceName": redis.name,
                # A pod that never gets ready would otherwise block the roll-out that mends it.
                "podManagementPolicy": "Parallel",
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {
                        "labels": _labels(redis),
                        "annotations": {workload.CONFIG_HASH: workload.digest(text)},
                    },
                    "spec": pod(redis, config),
                },
            },
        ),
    )


def _volume(redis: Redis) -> Child:
    spec: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": redis.storage.size}},
    }
    if redis.storage.storage_class_name:
        spec["storageClassName"] = redis.storage.storage_class_name
    return Child(
        PERSISTENT_VOLUME_CLAIM,
        _manifest(redis, PERSISTENT_VOLUME_CLAIM, redis.data, spec=spec),
        owned=redis.reclaim_policy is ReclaimPolicy.DELETE,
        adopt=redis.adopts,
    )


def _labels(redis: Redis) -> dict[str, str]:
    return workload.labels(redis.application, redis.owner, component=REDIS)


def _manifest(redis: Redis, kind: Kind, name: str, **content: Any) -> Manifest:
    metadata = {"name": name, "namespace": redis.owner.namespace, "labels": _labels(redis)}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}


def _child(redis: Redis, kind: Kind, **content: Any) -> Child:
    return Child(kind, _manifest(redis, kind, redis.name, **content))
