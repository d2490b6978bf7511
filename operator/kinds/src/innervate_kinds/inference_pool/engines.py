"""The children that serve one release by one variant: llama.cpp, and what fetches the release for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from innervate_kinds.api import network, workload
from innervate_kinds.api.kind import (
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
)
from innervate_kinds.api.plan import Generated
from innervate_kinds.api.quantity import parse
from innervate_kinds.inference_pool.names import (
    APPLICATION,
    COST,
    ENGINE,
    ENGINE_KEY,
    ENGINE_PORT,
    GATEWAY,
    RELEASE,
    VARIANT,
    Names,
    engine_name,
)
from innervate_kinds.parts import placement, releases, service
from innervate_kinds.parts.children import Maker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from innervate_kinds.api.plan import Child, Config, Manifest
    from innervate_kinds.inference_pool.model import InferencePool, Variant
    from innervate_kinds.inference_pool.state import EngineKey
    from innervate_kinds.model_release.model import Artifact
    from innervate_kinds.parts.placement import Pool

FETCH = "fetch"
"""The container that verifies and copies the release before the engine starts."""
KEY_PATH = "/etc/innervate/engine"
"""Where gateways and engines mount the key they share."""
_MODELS, _FILE = "/models", "model.gguf"
_NOTICE_SECONDS, _SPARE_SECONDS = 5, 10
# A server that is told to end drops what it works on. So it is told only when nothing is left: gateways
# get time to notice, then it is asked until it works on nothing, at most as long as a request may take.
_DRAIN = f"""\
sleep {_NOTICE_SECONDS}
read -r key < {KEY_PATH}/{ENGINE_KEY}
question=$'GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\nAuthorization: Bearer '
while (( SECONDS < {{limit}} )); do
  exec 3<>/dev/tcp/127.0.0.1/{ENGINE_PORT} || exit 0
  printf '%s%s\\r\\n\\r\\n' "$question" "$key" >&3
  grep -Eq '^llamacpp:requests_(processing|deferred) [1-9]' <&3 || exit 0
  exec 3>&-
  sleep 0.5
done
"""
_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}


def key_secret(pool: InferencePool) -> Child:
    """Key that engines ask gateways for, drawn once and never read by the operator."""
    name = Names.of(pool.metadata.name).engine
    return _maker(pool).child(SECRET, name, ENGINE, type="Opaque", stringData={ENGINE_KEY: Generated()})


def shared(pool: InferencePool, artifacts: Iterable[Artifact]) -> tuple[Child, ...]:
    """What all engines of a pool have in common: their account, who may connect, and where they may fetch."""
    make = _maker(pool)
    name = Names.of(pool.metadata.name).engine
    gateways = {"podSelector": {"matchLabels": make.selector(GATEWAY)}}
    egress: list[Manifest] = []
    for artifact in artifacts:
        egress += [rule for rule in releases.egress(artifact) if rule not in egress]
    return (
        make.child(SERVICE_ACCOUNT, name, ENGINE, automountServiceAccountToken=False),
        make.network(
            name, ENGINE, ingress=[{"from": [gateways], "ports": [network.port(ENGINE_PORT)]}], egress=egress
        ),
    )


def children(
    pool: InferencePool,
    variant: Variant,
    key: EngineKey,
    *,
    artifact: Artifact,
    config: Config,
    compute_pool: Pool | None,
) -> tuple[Child, ...]:
    """Deployment and Service of one release's engines, and a budget where there are several."""
    make = _maker(pool)
    name = engine_name(pool.metadata.name, *key)
    labels = {VARIANT: key.variant, RELEASE: key.release}
    selector = {**make.selector(ENGINE), **labels}
    cost = {COST: compute_pool.spec.cost_per_hour} if compute_pool else {}
    port = {"name": "http", "port": ENGINE_PORT, "targetPort": "http", "protocol": "TCP"}
    deployment = {
        "replicas": variant.replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": make.template(
            ENGINE,
            configuration=workload.digest(artifact.digest),
            spec={
                **_pod(pool, variant, artifact, config),
                **placement.manifest(compute_pool),
                **service.spread(selector),
            },
            labels=labels,
        ),
    }
    found = (
        # Kubernetes copies a Service's labels to its EndpointSlices, where gateways read them.
        make.child(
            SERVICE,
            name,
            ENGINE,
            labels={**labels, **cost},
            spec={"clusterIP": "None", "selector": selector, "ports": [port]},
        ),
        make.child(DEPLOYMENT, name, ENGINE, labels=labels, spec=deployment),
    )
    if variant.replicas == 1:
        return found
    budget = service.disruption_budget(selector)
    return (*found, make.child(POD_DISRUPTION_BUDGET, name, ENGINE, labels=labels, spec=budget))


def _maker(pool: InferencePool) -> Maker:
    return Maker(pool.metadata, APPLICATION)


def _pod(pool: InferencePool, variant: Variant, artifact: Artifact, config: Config) -> Manifest:
    drain = _NOTICE_SECONDS + pool.spec.gateway.admission.deadline_seconds
    name = Names.of(pool.metadata.name).engine
    resources = variant.resources.over(_RESOURCES) if variant.resources else _RESOURCES
    return {
        **service.pod(config, account=name, termination_seconds=drain + _SPARE_SECONDS),
        "initContainers": [
            releases.container(
                config,
                artifact,
                FETCH,
                f"--keys={releases.KEYS_PATH}",
                f"--file={_FILE}",
                f"--into={_MODELS}",
                more_mounts=[{"name": "models", "mountPath": _MODELS}],
            )
        ],
        "containers": [
            {
                "name": ENGINE,
                "image": config.image("llama-cpp"),
                "imagePullPolicy": config.image_pull_policy,
                "command": ["llama-server"],
                "args": _arguments(pool, variant, threads=math.ceil(parse(resources["limits"]["cpu"]))),
                "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108  the pod's own
                "ports": [{"name": "http", "containerPort": ENGINE_PORT, "protocol": "TCP"}],
                "lifecycle": {"preStop": {"exec": {"command": ["bash", "-c", _DRAIN.format(limit=drain)]}}},
                # Reading a large model takes minutes, and must not be cut short.
                "startupProbe": workload.http_probe("/health", "http", period=1, failures=1800),
                "readinessProbe": workload.http_probe("/health", "http", period=2, failures=2),
                "livenessProbe": workload.http_probe("/health", "http", period=10, failures=6),
                "resources": resources,
                "securityContext": workload.CONTAINER_SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {"name": "models", "mountPath": _MODELS, "readOnly": True},
                    {"name": "engine-key", "mountPath": KEY_PATH, "readOnly": True},
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  the pod's own
                ],
            }
        ],
        "volumes": [
            {"name": "models", "emptyDir": {}},
            {"name": "engine-key", "secret": {"secretName": name}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            releases.keys_volume(),
            *releases.volumes(artifact),
        ],
    }


def _arguments(pool: InferencePool, variant: Variant, *, threads: int) -> list[str]:
    options = {
        "--model": f"{_MODELS}/{_FILE}",
        "--alias": pool.spec.model.name,
        "--host": "0.0.0.0",  # noqa: S104  of a pod, behind its NetworkPolicy
        "--port": str(ENGINE_PORT),
        "--parallel": str(variant.parallel),
        # The server shares its context among the requests it works on.
        "--ctx-size": str(variant.context_size * variant.parallel),
        "--threads": str(threads),
        # Prompts kept outside the context would take memory that the limit does not leave.
        "--cache-ram": "0",
        "--api-key-file": f"{KEY_PATH}/{ENGINE_KEY}",
    }
    switches = ["--jinja", "--metrics", "--slots", "--no-ui", "--offline"]
    return [*(word for option in options.items() for word in option), *switches]
