"""The pod of a Redis and the files it reads: Redis itself with its identity agent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.api.quantity import parse
from innervate_kinds.parts import service
from innervate_kinds.parts.redis.model import Durability
from innervate_kinds.parts.redis.part import PASSWORD_KEY, PASSWORD_PATH, PORT, REDIS

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.parts.redis.model import RedisStorage
    from innervate_kinds.parts.redis.part import Redis

_MEBIBYTE = 2**20
_DATA_PATH = "/data"
_AUTH_PATH = "/var/run/innervate/redis"
_REDIS_CONF = """\
bind * -::*
port 0
tls-port {port}
tls-cert-file {identity}/tls.crt
tls-key-file {identity}/tls.key
tls-ca-cert-file {identity}/ca.crt
tls-auth-clients yes
tls-protocols "TLSv1.2 TLSv1.3"
include {auth}/auth.conf
daemonize no
dir {data}
save ""
appendonly yes
appendfsync {fsync}
maxmemory {memory}
maxmemory-policy noeviction
"""
_FSYNC = {Durability.ALWAYS: "always", Durability.EVERY_SECOND: "everysec"}
# The password reaches Redis by a file in memory: neither the manifest nor the process list shows it.
# REDISCLI_AUTH is also what redis-cli reads, in the probes.
_START_REDIS = (
    "umask 077; "
    """printf '%s\\n' "$REDISCLI_AUTH" | sed -e 's/["\\\\]/\\\\&/g' -e 's/.*/requirepass "&"/' """
    f"> {_AUTH_PATH}/auth.conf; "
    f"unset REDISCLI_AUTH; exec redis-server {workload.CONFIG_PATH}/redis.conf"
)
# Any command that reads: PING is refused while the disk is full, when records can still be read.
_READ = (
    f"exec redis-cli -e -h localhost -p {PORT} --tls --cert {workload.IDENTITY_PATH}/tls.crt "
    f"--key {workload.IDENTITY_PATH}/tls.key --cacert {workload.IDENTITY_PATH}/ca.crt exists ready"
)
_AGENT_RESOURCES: Manifest = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "192Mi"},
}


def conf(storage: RedisStorage) -> str:
    """Configuration of Redis."""
    return _REDIS_CONF.format(
        port=PORT,
        identity=workload.IDENTITY_PATH,
        auth=_AUTH_PATH,
        data=_DATA_PATH,
        fsync=_FSYNC[storage.durability],
        memory=math.floor(parse(storage.memory)),
    )


def password_volume(secret: str, *, key: str, path: str, optional: bool) -> Manifest:
    """Volume with one key of a Secret, for the `password_mount`."""
    return {
        "name": "redis",
        "secret": {"secretName": secret, "optional": optional, "items": [{"key": key, "path": path}]},
    }


def password_mount() -> Manifest:
    """Mount of the `password_volume`."""
    return {"name": "redis", "mountPath": PASSWORD_PATH, "readOnly": True}


def pod(redis: Redis, config: Config) -> Manifest:
    """Pod of Redis: the agent gets a certificate before Redis starts, and renews it."""
    auth = {"name": "auth", "mountPath": _AUTH_PATH}
    return {
        **service.pod(config, account=redis.name),
        "initContainers": [_agent(redis, config)],
        "containers": [
            {
                "name": REDIS,
                "image": config.image("redis"),
                "imagePullPolicy": config.image_pull_policy,
                "command": ["/bin/sh", "-ec", _START_REDIS],
                # A missing Secret is told by the kubelet for an environment variable only.
                "env": [
                    {
                        "name": "REDISCLI_AUTH",
                        "valueFrom": {"secretKeyRef": {"name": redis.name, "key": PASSWORD_KEY}},
                    }
                ],
                "ports": [{"name": "redis", "containerPort": PORT, "protocol": "TCP"}],
                # Loading the log of a large store takes minutes, and must not be cut short.
                "startupProbe": _probe(period=1, failures=3600),
                "readinessProbe": _probe(period=5, failures=2),
                "livenessProbe": _probe(period=15, failures=6),
                "resources": _resources(redis.storage),
                "securityContext": workload.CONTAINER_SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {"name": "data", "mountPath": _DATA_PATH},
                    *(
                        mount
                        for mount in workload.identity_mounts()
                        if mount["name"] in {"config", "identity"}
                    ),
                    auth,
                ],
            }
        ],
        "volumes": [
            *workload.identity_volumes(config_map=redis.name, trust=redis.trust),
            {"name": "data", "persistentVolumeClaim": {"claimName": redis.data}},
            {"name": "auth", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            # Optional, or the pod would wait for its volume and never say that the Secret is missing.
            password_volume(redis.name, key=PASSWORD_KEY, path=PASSWORD_KEY, optional=True),
        ],
    }


def _agent(redis: Redis, config: Config) -> Manifest:
    return {
        "name": "identity",
        "image": config.image("identity-agent"),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_service.identity.agent"],
        "args": [
            f"--endpoint={config.identity_endpoint}",
            f"--trust-domain={config.trust_domain}",
            *(f"--dns-name={name}" for name in workload.dns_names(redis.name, redis.namespace)),
            f"--reload-redis=localhost:{PORT}",
            f"--password-file={PASSWORD_PATH}/{PASSWORD_KEY}",
            f"--health-listen=0.0.0.0:{workload.AGENT_HEALTH_PORT}",
        ],
        "restartPolicy": "Always",
        "env": workload.environment("innervate-identity-agent"),
        "ports": [{"name": "agent-health", "containerPort": workload.AGENT_HEALTH_PORT, "protocol": "TCP"}],
        "startupProbe": workload.http_probe("/readyz", workload.AGENT_HEALTH_PORT, period=1, failures=300),
        "livenessProbe": workload.http_probe("/livez", workload.AGENT_HEALTH_PORT, period=15, failures=4),
        "resources": _AGENT_RESOURCES,
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*workload.identity_mounts(), password_mount()],
    }


def _probe(*, period: int, failures: int) -> Manifest:
    return {
        "exec": {"command": ["/bin/sh", "-c", _READ]},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def _resources(storage: RedisStorage) -> Manifest:
    # Rewriting the log forks: pages written meanwhile are held twice.
    data = parse(storage.memory)
    requests = {"cpu": "50m", "memory": f"{math.ceil(data / _MEBIBYTE) + 64}Mi"}
    limits = {"cpu": "2", "memory": f"{math.ceil(data * 3 / 2 / _MEBIBYTE) + 128}Mi"}
    defaults = {"requests": requests, "limits": limits}
    return storage.resources.over(defaults) if storage.resources else defaults
