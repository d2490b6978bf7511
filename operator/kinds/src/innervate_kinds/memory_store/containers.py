"""The pod of the memory service and the configuration it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.memory_store.names import SERVICE, Names
from innervate_kinds.parts import placement, service
from innervate_kinds.parts.redis.model import Durability
from innervate_kinds.parts.redis.part import PASSWORD_KEY, PASSWORD_PATH, PORT
from innervate_kinds.parts.redis.pod import password_mount, password_volume

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.memory_store.model import MemoryStore
    from innervate_kinds.parts.placement import Pool

_SERVICE_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "2", "memory": "1Gi"},
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
            "service": service.configuration(
                config,
                service=names.service,
                namespace=namespace,
                telemetry_name="innervate-memory",
            ),
            "store": {"namespace": namespace, "name": store.metadata.name},
            "operator": {"namespace": config.namespace, "name": config.service_account},
            "redis": (
                {
                    "host": service.host(names.redis, namespace),
                    "port": PORT,
                    "tls": True,
                    "passwordFile": f"{PASSWORD_PATH}/{PASSWORD_KEY}",
                }
                if spec.storage.redis
                else {"urlFile": f"{PASSWORD_PATH}/url"}
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
        secret = password_volume(reference.name, key=reference.key, path="url", optional=True)
        # Not read by the service, which takes the file: only so does the kubelet tell of a missing Secret.
        source = {"secretKeyRef": {"name": reference.name, "key": reference.key}}
        env.append({"name": "REDIS_URL", "valueFrom": source})
    else:
        secret = password_volume(names.redis, key=PASSWORD_KEY, path=PASSWORD_KEY, optional=False)
    return {
        **service.pod(config, account=names.service),
        **placement.manifest(pool),
        **service.spread(workload.selector(store.metadata, component=SERVICE)),
        "containers": [
            {
                "name": "memory",
                "image": config.image("memory"),
                "imagePullPolicy": config.image_pull_policy,
                "command": ["python3", "-m", "innervate_memory"],
                "env": env,
                "ports": service.container_ports(),
                **service.container_probes(),
                "resources": resources.over(_SERVICE_RESOURCES) if resources else _SERVICE_RESOURCES,
                "securityContext": workload.CONTAINER_SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [*workload.identity_mounts(), password_mount()],
            }
        ],
        "volumes": [*workload.identity_volumes(config_map=names.config, trust=names.trust), secret],
    }
