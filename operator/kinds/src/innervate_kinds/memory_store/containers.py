"""Pods of a store and the files they read: Redis with its identity agent, and the memory service."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.api.quantity import parse
from innervate_kinds.memory_store.model import Durability
from innervate_kinds.memory_store.names import PASSWORD_KEY, REDIS, REDIS_PORT, SERVICE, Names, host
from innervate_kinds.parts import placement

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.memory_store.model import MemoryStore, RedisStorage
    from innervate_kinds.parts.placement import Pool

_MEBIBYTE = 2**20
_PASSWORD_PATH = "/etc/innervate/redis"  # noqa: S105  a path, not a password
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
    f"exec redis-cli -e -h localhost -p {REDIS_PORT} --tls --cert {workload.IDENTITY_PATH}/tls.crt "
    f"--key {workload.IDENTITY_PATH}/tls.key --cacert {workload.IDENTITY_PATH}/ca.crt exists ready"
)
_AGENT_RESOURCES: Manifest = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "192Mi"},
}
_SERVICE_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "2", "memory": "1Gi"},
}
_TERMINATION_SECONDS = 45
"""More than a service takes to drain."""


def redis_conf(redis: RedisStorage) -> str:
    """Configuration of Redis."""
    return _REDIS_CONF.format(
        port=REDIS_PORT,
        identity=workload.IDENTITY_PATH,
        auth=_AUTH_PATH,
        data=_DATA_PATH,
        fsync=_FSYNC[redis.durability],
        memory=math.floor(parse(redis.memory)),
    )


def redis_pod(store: MemoryStore, config: Config, redis: RedisStorage) -> Manifest:
    """Pod of Redis: the agent gets a certificate before Redis starts, and renews it."""
    names = Names.of(store.metadata.name)
    auth = {"name": "auth", "mountPath": _AUTH_PATH}
    return {
        **_pod(config, account=names.redis),
        "initContainers": [_agent(store, config)],
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
                        "valueFrom": {"secretKeyRef": {"name": names.redis, "key": PASSWORD_KEY}},
                    }
                ],
                "ports": [{"name": "redis", "containerPort": REDIS_PORT, "protocol": "TCP"}],
                # Loading the log of a large store takes minutes, and must not be cut short.
                "startupProbe": _redis_probe(period=1, failures=3600),
                "readinessProbe": _redis_probe(period=5, failures=2),
                "livenessProbe": _redis_probe(period=15, failures=6),
                "resources": _redis_resources(redis),
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
            *workload.identity_volumes(config_map=names.redis, trust=names.trust),
            {"name": "data", "persistentVolumeClaim": {"claimName": names.data}},
            {"name": "auth", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            # Optional, or the pod would wait for its volume and never say that the Secret is missing.
            _secret_volume(names.redis, key=PASSWORD_KEY, path=PASSWORD_KEY, optional=True),
        ],
    }


def service_config(store: MemoryStore, config: Config) -> str:
    """Configuration of the memory service."""
    names = Names.of(store.metadata.name)
    namespace = store.metadata.namespace or ""
    spec = store.spec
    storage = spec.storage.redis or spec.storage.external
    forget = spec.retention.forget
    return workload.to_json(
        {
            "service": {
                "listen": f"0.0.0.0:{workload.GRPC_PORT}",
                "healthListen": f"0.0.0.0:{workload.HEALTH_PORT}",
                "metricsListen": f"0.0.0.0:{workload.METRICS_PORT}",
                "identity": {
                    "endpoint": config.identity_endpoint,
                    "trustDomain": config.trust_domain,
                    "dnsNames": workload.dns_names(names.service, namespace),
                },
                "telemetry": {"otlpEndpoint": config.otlp_endpoint, "serviceName": "innervate-memory"},
            },
            "store": {"namespace": namespace, "name": store.metadata.name},
            "operator": {"namespace": config.namespace, "name": config.service_account},
            "redis": (
                {
                    "host": host(names.redis, namespace),
                    "port": REDIS_PORT,
                    "tls": True,
                    "passwordFile": f"{_PASSWORD_PATH}/{PASSWORD_KEY}",
                }
                if spec.storage.redis
                else {"urlFile": f"{_PASSWORD_PATH}/url"}
            ),
            "durability": storage.durability if storage else Durability.ALWAYS,
            "maxRecordsPerSpace": spec.retrieval.max_records_per_space,
            "retention": {
                "defaultTtlSeconds": spec.retention.default_ttl_seconds,
                "forget": forget.model_dump(by_alias=True) if forget else None,
            },
            "access": [
                {
                    "serviceAccounts": [
                        {"namespace": subject.namespace or namespace, "name": subject.name}
                        for subject in rule.service_accounts
                    ],
                    "spaces": list(rule.spaces),
                    "permissions": list(rule.permissions),
                }
                for rule in spec.access
            ],
        }
    )


def service_pod(store: MemoryStore, config: Config, pool: Pool | None) -> Manifest:
    """Pod of the memory service."""
    names = Names.of(store.metadata.name)
    resources = store.spec.service.resources
    external = store.spec.storage.external
    env = workload.environment("innervate-memory")
    if external:
        reference = external.url_from.secret_key_ref
        secret = _secret_volume(reference.name, key=reference.key, path="url", optional=True)
        # Not read by the service, which takes the file: only so does the kubelet tell of a missing Secret.
        source = {"secretKeyRef": {"name": reference.name, "key": reference.key}}
        env.append({"name": "REDIS_URL", "valueFrom": source})
    else:
        secret = _secret_volume(names.redis, key=PASSWORD_KEY, path=PASSWORD_KEY, optional=False)
    return {
        **_pod(config, account=names.service),
        **placement.manifest(pool),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": workload.selector(store.metadata, component=SERVICE)},
            }
        ],
        "containers": [
            {
                "name": "memory",
                "image": config.image("memory"),
                "imagePullPolicy": config.image_pull_policy,
                "command": ["python3", "-m", "innervate_memory"],
                "env": env,
                "ports": [
                    {"name": "grpc", "containerPort": workload.GRPC_PORT, "protocol": "TCP"},
                    {"name": "health", "containerPort": workload.HEALTH_PORT, "protocol": "TCP"},
                    {"name": "metrics", "containerPort": workload.METRICS_PORT, "protocol": "TCP"},
                ],
                "startupProbe": workload.http_probe("/livez", "health", period=1, failures=120),
                "readinessProbe": workload.http_probe("/readyz", "health", period=2, failures=2),
                "livenessProbe": workload.http_probe("/livez", "health", period=10, failures=3),
                "resources": resources.over(_SERVICE_RESOURCES) if resources else _SERVICE_RESOURCES,
                "securityContext": workload.CONTAINER_SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [*workload.identity_mounts(), _secret_mount()],
            }
        ],
        "volumes": [*workload.identity_volumes(config_map=names.config, trust=names.trust), secret],
    }


def _pod(config: Config, *, account: str) -> Manifest:
    return {
        "serviceAccountName": account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": workload.POD_SECURITY,
        "terminationGracePeriodSeconds": _TERMINATION_SECONDS,
        **workload.pull_settings(config),
    }


def _agent(store: MemoryStore, config: Config) -> Manifest:
    names = workload.dns_names(Names.of(store.metadata.name).redis, store.metadata.namespace or "")
    return {
        "name": "identity",
        "image": config.image("identity-agent"),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_service.identity.agent"],
        "args": [
            f"--endpoint={config.identity_endpoint}",
            f"--trust-domain={config.trust_domain}",
            *(f"--dns-name={name}" for name in names),
            f"--reload-redis=localhost:{REDIS_PORT}",
            f"--password-file={_PASSWORD_PATH}/{PASSWORD_KEY}",
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
        "volumeMounts": [*workload.identity_mounts(), _secret_mount()],
    }


def _redis_probe(*, period: int, failures: int) -> Manifest:
    return {
        "exec": {"command": ["/bin/sh", "-c", _READ]},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }


def _redis_resources(redis: RedisStorage) -> Manifest:
    # Rewriting the log forks: pages written meanwhile are held twice.
    data = parse(redis.memory)
    requests = {"cpu": "50m", "memory": f"{math.ceil(data / _MEBIBYTE) + 64}Mi"}
    limits = {"cpu": "2", "memory": f"{math.ceil(data * 3 / 2 / _MEBIBYTE) + 128}Mi"}
    defaults = {"requests": requests, "limits": limits}
    return redis.resources.over(defaults) if redis.resources else defaults


def _secret_volume(secret: str, *, key: str, path: str, optional: bool) -> Manifest:
    return {
        "name": "redis",
        "secret": {"secretName": secret, "optional": optional, "items": [{"key": key, "path": path}]},
    }


def _secret_mount() -> Manifest:
    return {"name": "redis", "mountPath": _PASSWORD_PATH, "readOnly": True}
