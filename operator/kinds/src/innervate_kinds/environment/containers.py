"""The pods of an environment and the file they read: the server, and the scorer beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.environment.names import SERVER, Names
from innervate_kinds.parts import access, dataset, placement, scorer, service

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.environment.model import Environment
    from innervate_kinds.parts.placement import Pool

_TELEMETRY_NAME = "innervate-environments"
_RESOURCES = {
    "requests": {"cpu": "200m", "memory": "256Mi"},
    "limits": {"cpu": "2", "memory": "2Gi"},
}


def image(environment: Environment, config: Config) -> str:
    """Image of the server: the user's, which holds the environment's package, or ours."""
    source = environment.spec.source
    own = source.gymnasium or source.tasks
    return (own.image if own else None) or config.image("environments")


def server_config(environment: Environment, config: Config) -> str:
    """Configuration of the server."""
    names, spec = Names.of(environment.metadata.name), environment.spec
    namespace = environment.metadata.namespace or ""
    told = {"max_episode_steps", "capacity", "lease_seconds", "step_seconds", "instances_per_process"}
    return workload.to_json(
        {
            "service": service.configuration(
                config, service=names.server, namespace=namespace, telemetry_name=_TELEMETRY_NAME
            ),
            "environment": {
                "namespace": namespace,
                "name": environment.metadata.name,
                "source": _source(environment),
                "rewards": [each.model_dump(mode="json", by_alias=True) for each in spec.rewards],
                **spec.model_dump(mode="json", by_alias=True, include=told),
            },
            "scorer": (
                {"socket": scorer.SOCKET, "image": config.image(scorer.IMAGE)} if spec.rewards else None
            ),
            "image": image(environment, config),
            "access": [
                {"serviceAccounts": access.accounts(rule.service_accounts, namespace)} for rule in spec.access
            ],
            "operator": {"namespace": config.namespace, "name": config.service_account},
        }
    )


def _source(environment: Environment) -> Manifest:
    source = environment.spec.source
    if source.gymnasium:
        return {"gymnasium": {"id": source.gymnasium.id, "options": dict(source.gymnasium.options)}}
    if source.tasks:
        return {
            "tasks": {
                "path": dataset.file(source.tasks.dataset),
                "sha256": source.tasks.dataset.sha256,
            }
        }
    return {}


def pod(environment: Environment, config: Config, pool: Pool | None) -> Manifest:
    """Pod that serves the environment; the scorer, where there is one, starts first."""
    names, spec = Names.of(environment.metadata.name), environment.spec
    tasks = spec.source.tasks
    return {
        **service.pod(config, account=names.server),
        **placement.manifest(pool),
        **service.spread(workload.selector(environment.metadata, component=SERVER)),
        **({"initContainers": [scorer.sidecar(config)]} if spec.rewards else {}),
        "containers": [_server(environment, config)],
        "volumes": [
            *workload.identity_volumes(config_map=names.config, trust=names.trust),
            *([scorer.volume()] if spec.rewards else []),
            *([dataset.volume(tasks.dataset)] if tasks else []),
        ],
    }


def _server(environment: Environment, config: Config) -> Manifest:
    spec = environment.spec
    return {
        "name": SERVER,
        "image": image(environment, config),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-m", "innervate_environments"],
        "env": workload.environment(_TELEMETRY_NAME),
        "ports": service.container_ports(),
        **service.container_probes(),
        "resources": spec.resources.over(_RESOURCES) if spec.resources else _RESOURCES,
        "securityContext": workload.CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            *workload.identity_mounts(),
            *([scorer.mount()] if spec.rewards else []),
            *([dataset.mount()] if spec.source.tasks else []),
        ],
    }
