"""The children of a pool's gateway, and the configuration it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from innervate_kinds.api import network, workload
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    GROUP,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SERVICE,
    SERVICE_ACCOUNT,
)
from innervate_kinds.inference_pool.engines import KEY_PATH
from innervate_kinds.inference_pool.names import (
    APPLICATION,
    ENGINE,
    ENGINE_KEY,
    ENGINE_PORT,
    GATEWAY,
    HTTPS_PORT,
    Names,
)
from innervate_kinds.parts import placement, service
from innervate_kinds.parts.children import Maker
from innervate_kinds.parts.redis.part import PASSWORD_KEY, PASSWORD_PATH, PORT, REDIS
from innervate_kinds.parts.redis.pod import password_mount, password_volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innervate_kinds.api.plan import Child, Config, Manifest
    from innervate_kinds.api.scheduling import SecretKeyRef
    from innervate_kinds.inference_pool.model import InferencePool
    from innervate_kinds.parts.placement import Pool

ENDPOINT_SLICES = ("discovery.k8s.io", "endpointslices", ("get", "list", "watch"))
"""Where gateways find engines: group, resource and verbs. The operator may grant only what it has."""
_API_PORTS = (443, 6443)
"""Where API servers listen: theirs is no pod that a policy could select."""
_KUBERNETES_PATH = "/var/run/secrets/kubernetes"
_EXTERNAL_PATH = "/etc/innervate/external"
_DELAY_SECONDS, _SPARE_SECONDS = 5, 10
_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "192Mi"},
    "limits": {"cpu": "2", "memory": "1Gi"},
}


def children(pool: InferencePool, config: Config, compute_pool: Pool | None) -> tuple[Child, ...]:
    """The gateway: its account and rights, its configuration, its pods and how they are reached."""
    make = Maker(pool.metadata, APPLICATION)
    names = Names.of(pool.metadata.name)
    name, replicas = names.gateway, pool.spec.gateway.replicas
    text = configuration(pool, config)
    selector = make.selector(GATEWAY)
    role = {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": name}
    subject = {"kind": SERVICE_ACCOUNT.kind, "name": name, "namespace": pool.metadata.namespace}
    group, resource, verbs = ENDPOINT_SLICES
    found = (
        make.child(SERVICE_ACCOUNT, name, GATEWAY, automountServiceAccountToken=False),
        make.child(
            ROLE,
            name,
            GATEWAY,
            rules=[
                {
                    "apiGroups": [GROUP],
                    "resources": ["inferencepools"],
                    "resourceNames": [pool.metadata.name],
                    "verbs": ["get", "list", "watch"],
                },
                {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)},
            ],
        ),
        make.child(ROLE_BINDING, name, GATEWAY, roleRef=role, subjects=[subject]),
        make.child(CONFIG_MAP, names.config, GATEWAY, data={"config.json": text}),
        make.network(name, GATEWAY, ingress=_callers(pool, config), egress=_called(pool, config, make)),
        make.child(
            SERVICE,
            name,
            GATEWAY,
            spec={
                "selector": selector,
                "ports": [
                    {"name": "https", "port": HTTPS_PORT, "targetPort": "https", "protocol": "TCP"},
                    {"name": "grpc", "port": workload.GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
                ],
            },
        ),
        make.child(
            DEPLOYMENT,
            name,
            GATEWAY,
            spec={
                "replicas": replicas,
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": selector},
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                },
                "template": make.template(
                    GATEWAY,
                    configuration=workload.digest(text),
                    spec={
                        **_pod(pool, config),
                        **placement.manifest(compute_pool),
                        **service.spread(selector),
                    },
                ),
            },
        ),
    )
    if replicas == 1:
        return found
    budget = service.disruption_budget(selector)
    return (*found, make.child(POD_DISRUPTION_BUDGET, name, GATEWAY, spec=budget))


def configuration(pool: InferencePool, config: Config) -> str:
    """Configuration of the gateway: what it does not read from the pool itself."""
    names = Names.of(pool.metadata.name)
    namespace = pool.metadata.namespace or ""
    admission, log = pool.spec.gateway.admission, pool.spec.exchange_log
    common = service.configuration(
        config, service=names.gateway, namespace=namespace, telemetry_name="innervate-gateway"
    )
    drain = {"delaySeconds": _DELAY_SECONDS, "graceSeconds": admission.deadline_seconds}
    return workload.to_json(
        {
            "service": {**common, "drain": drain},
            "pool": {"namespace": namespace, "name": pool.metadata.name},
            "operator": {"namespace": config.namespace, "name": config.service_account},
            "listen": f"0.0.0.0:{HTTPS_PORT}",
            "redis": {
                "host": service.host(names.redis, namespace),
                "port": PORT,
                "tls": True,
                "passwordFile": f"{PASSWORD_PATH}/{PASSWORD_KEY}",
            },
            "admission": admission.model_dump(by_alias=True),
            "exchangeLog": {
                "retentionSeconds": log.retention_seconds,
                "feedbackSeconds": log.feedback_seconds,
                "content": log.content,
            },
            "access": [
                {
                    "serviceAccounts": [
                        {"namespace": subject.namespace or namespace, "name": subject.name}
                        for subject in rule.service_accounts
                    ]
                }
                for rule in pool.spec.access
            ],
            "engineKeyFile": f"{KEY_PATH}/{ENGINE_KEY}",
            "externalKeyDirectory": _EXTERNAL_PATH,
            "kubernetes": {
                "tokenFile": f"{_KUBERNETES_PATH}/token",
                "caFile": f"{_KUBERNETES_PATH}/ca.crt",
            },
        }
    )


def external_keys(pool: InferencePool) -> Iterator[tuple[str, SecretKeyRef]]:
    """Variants whose server asks for a key, and where that stands."""
    for variant in pool.spec.variants:
        if variant.external and variant.external.api_key:
            yield variant.name, variant.external.api_key.secret_key_ref


def _pod(pool: InferencePool, config: Config) -> Manifest:
    names = Names.of(pool.metadata.name)
    gateway = pool.spec.gateway
    # Requests that were begun are finished, however long they may take.
    drain = _DELAY_SECONDS + gateway.admission.deadline_seconds + _SPARE_SECONDS
    keys = list(external_keys(pool))
    env = workload.environment("innervate-gateway")
    # Not read by the gateway, which takes the files: only so does the kubelet tell of a missing Secret.
    env += [
        {
            "name": f"EXTERNAL_KEY_{index}",
            "valueFrom": {"secretKeyRef": {"name": key.name, "key": key.key}},
        }
        for index, (_variant, key) in enumerate(keys)
    ]
    return {
        **service.pod(config, account=names.gateway, termination_seconds=drain),
        "containers": [
            {
                "name": GATEWAY,
                "image": config.image("gateway"),
                "imagePullPolicy": config.image_pull_policy,
                "command": ["python3", "-m", "innervate_gateway"],
                "env": env,
                "ports": [
                    {"name": "https", "containerPort": HTTPS_PORT, "protocol": "TCP"},
                    *service.container_ports(),
                ],
                **service.container_probes(),
                "resources": gateway.resources.over(_RESOURCES) if gateway.resources else _RESOURCES,
                "securityContext": workload.CONTAINER_SECURITY,
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    *workload.identity_mounts(),
                    password_mount(),
                    {"name": "engine-key", "mountPath": KEY_PATH, "readOnly": True},
                    {"name": "kubernetes", "mountPath": _KUBERNETES_PATH, "readOnly": True},
                    *([{"name": "external", "mountPath": _EXTERNAL_PATH, "readOnly": True}] if keys else []),
                ],
            }
        ],
        "volumes": [
            *workload.identity_volumes(config_map=names.config, trust=names.trust),
            password_volume(names.redis, key=PASSWORD_KEY, path=PASSWORD_KEY, optional=False),
            {"name": "engine-key", "secret": {"secretName": names.engine}},
            _kubernetes_volume(),
            *([_external_volume(keys)] if keys else []),
        ],
    }


def _kubernetes_volume() -> Manifest:
    """A token for the API server, which the one of audience `innervate` is not, and whom to trust."""
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3600, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {"name": "kubernetes", "projected": {"sources": sources}}


def _external_volume(keys: list[tuple[str, SecretKeyRef]]) -> Manifest:
    sources = [
        {
            "secret": {
                "name": key.name,
                # Or the pod would wait for its volume and never say that the Secret is missing.
                "optional": True,
                "items": [{"key": key.key, "path": f"{variant}/key"}],
            }
        }
        for variant, key in keys
    ]
    return {"name": "external", "projected": {"sources": sources}}


def _callers(pool: InferencePool, config: Config) -> list[Manifest]:
    """Who may connect: the pool's namespace, those of the access rules, the operator's."""
    named = {
        subject.namespace
        for rule in pool.spec.access
        for subject in rule.service_accounts
        if subject.namespace
    }
    peers = network.namespaces({pool.metadata.namespace or "", config.namespace, *named})
    return [
        {"from": [peers], "ports": [network.port(HTTPS_PORT), network.port(workload.GRPC_PORT)]},
        {"from": [{"namespaceSelector": {}}], "ports": [network.port(workload.METRICS_PORT)]},
    ]


def _called(pool: InferencePool, config: Config, make: Maker) -> list[Manifest]:
    """Where the gateway connects to."""
    return [
        _pods(make, REDIS, PORT),
        _pods(make, ENGINE, ENGINE_PORT),
        # To wherever: where nodes are no addresses for a network plugin, no block matches an API server.
        {"ports": [network.port(number) for number in _API_PORTS]},
        *_external(pool),
        network.dns(),
        network.identity(config),
        *network.telemetry(config),
    ]


def _external(pool: InferencePool) -> list[Manifest]:
    ports = [network.port(number) for number in sorted(external_ports(pool))]
    return [{"to": network.anywhere(), "ports": ports}] if ports else []


def external_ports(pool: InferencePool) -> set[int]:
    """Ports of the servers that are there already."""
    urls = [urlsplit(variant.external.url) for variant in pool.spec.variants if variant.external]
    return {url.port or (80 if url.scheme == "http" else 443) for url in urls}


def _pods(make: Maker, component: str, number: int) -> Manifest:
    return {
        "to": [{"podSelector": {"matchLabels": make.selector(component)}}],
        "ports": [network.port(number)],
    }
