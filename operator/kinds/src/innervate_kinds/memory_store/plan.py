"""Decides what a store needs: Redis on a volume, and the memory service in front of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api import network, workload
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    SERVICE_ACCOUNT,
    Kind,
    Reference,
)
from innervate_kinds.api.kind import SERVICE as SERVICE_KIND
from innervate_kinds.api.plan import Child, Note, Plan
from innervate_kinds.memory_store import containers
from innervate_kinds.memory_store.names import APPLICATION, SERVICE, Names
from innervate_kinds.memory_store.redis import redis_of
from innervate_kinds.parts.redis import children as redis_children
from innervate_kinds.parts.redis import claim
from innervate_kinds.parts.redis.part import PORT, REDIS
from innervate_kinds.parts.service import disruption_budget

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.memory_store.model import MemoryStore
    from innervate_kinds.memory_store.state import Observed

UNSETTLED_SECONDS = 10.0
"""Time to the next visit while something is starting or wrong."""
COUNT_SECONDS = 60.0
"""Least time between two counts in the status."""


def plan(store: MemoryStore, observed: Observed, config: Config, _now: datetime) -> Plan:
    """Plan a store's children.

    Nothing is planned on top of data that an earlier store retained, unless the store is told to
    adopt it; no service is placed before the pool it names is there and allows it.
    """
    redis = redis_of(store)
    if redis and (claim.retained(redis, observed.claim) or claim.leaving(redis, observed.claim)):
        return Plan()
    children = _Children(store, observed, config)
    apply = children.shared()
    ensure: tuple[Child, ...] = ()
    if redis:
        ensure = (redis_children.password(redis),)
        apply += redis_children.children(redis, config)
    if resolved(store, observed):
        apply += children.service()
    one = store.spec.service.replicas == 1 and observed.disruption_budget
    budget = Reference(POD_DISRUPTION_BUDGET, store.metadata.namespace, children.names.service)
    return Plan(
        apply=apply,
        ensure=ensure,
        delete=(budget,) if one else (),
        requeue_after=_requeue(store, observed),
        notes=_notes(store, observed, config),
    )


def resolved(store: MemoryStore, observed: Observed) -> bool:
    """Whether the pool that the placement names is there and allows the store's namespace."""
    return store.spec.service.placement is None or (observed.pool is not None and observed.pool.allowed)


def _requeue(store: MemoryStore, observed: Observed) -> float | None:
    storage_settled = store.spec.storage.redis is None or (observed.redis and observed.redis.complete)
    service_settled = observed.service and observed.service.complete
    if not (storage_settled and service_settled and observed.stats and observed.stats.value):
        return UNSETTLED_SECONDS
    counted = store.status.records if store.status else None
    return COUNT_SECONDS if counted != observed.stats.value["records"] else None


def _notes(store: MemoryStore, observed: Observed, config: Config) -> tuple[Note, ...]:
    rules = store.spec.access
    permissions = [
        f"{subject.namespace or store.metadata.namespace}/{subject.name}: "
        f"{', '.join(rule.permissions)} in {', '.join(rule.spaces)}"
        for rule in rules
        for subject in rule.service_accounts
    ] or [f"each service account of {store.metadata.namespace}: Read, Write in the space of its own name"]
    egress = ["DNS", f"identity authority {config.identity_endpoint}"]
    if store.spec.storage.external:
        egress.append(f"any address on port {store.spec.storage.external.port} (external Redis)")
    if config.otlp_endpoint:
        egress.append(f"telemetry {config.otlp_endpoint}")
    cost = (
        f"{observed.pool.spec.cost_per_hour} per hour for each node of the pool it is placed on"
        if observed.pool
        else "not known: no ComputePool is named in spec.service.placement"
    )
    return (
        *(Note("permission", text) for text in permissions),
        *(Note("egress", text) for text in egress),
        Note("cost", cost),
    )


class _Children:
    """Builds the children of one store."""

    def __init__(self, store: MemoryStore, observed: Observed, config: Config) -> None:
        self.store = store
        self.observed = observed
        self.config = config
        self.names = Names.of(store.metadata.name)
        self.namespace = store.metadata.namespace

    def shared(self) -> tuple[Child, ...]:
        """Trust anchors, which every pod of the store mounts."""
        data = workload.trust_data(self.config)
        return (self._child(CONFIG_MAP, self.names.trust, SERVICE, data=data),)

    def service(self) -> tuple[Child, ...]:
        """The memory service."""
        name = self.names.service
        replicas = self.store.spec.service.replicas
        text = containers.service_config(self.store, self.config)
        port = {"name": "grpc", "port": workload.GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"}
        children = (
            self._child(SERVICE_ACCOUNT, name, SERVICE, automountServiceAccountToken=False),
            self._child(CONFIG_MAP, self.names.config, SERVICE, data={"config.json": text}),
            self._network(name, SERVICE, ingress=self._callers(), egress=self._called()),
            self._child(
                SERVICE_KIND, name, SERVICE, spec={"selector": self._selector(SERVICE), "ports": [port]}
            ),
            # A service that cannot use Redis is never ready, and knows best why.
            self._child(
                SERVICE_KIND,
                self.names.check,
                SERVICE,
                spec={
                    "selector": self._selector(SERVICE),
                    "ports": [port],
                    "publishNotReadyAddresses": True,
                },
            ),
            self._child(
                DEPLOYMENT,
                name,
                SERVICE,
                spec={
                    "replicas": replicas,
                    "revisionHistoryLimit": 3,
                    "selector": {"matchLabels": self._selector(SERVICE)},
                    "strategy": {
                        "type": "RollingUpdate",
                        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
                    },
                    "template": self._template(
                        SERVICE,
                        configuration=workload.digest(text),
                        spec=containers.service_pod(self.store, self.config, self.observed.pool),
                    ),
                },
            ),
        )
        if replicas == 1:
            return children
        spec = disruption_budget(self._selector(SERVICE))
        return (*children, self._child(POD_DISRUPTION_BUDGET, name, SERVICE, spec=spec))

    def _callers(self) -> list[Manifest]:
        """Who may connect: the store's namespace, those of the access rules, the operator's."""
        named = {
            subject.namespace
            for rule in self.store.spec.access
            for subject in rule.service_accounts
            if subject.namespace
        }
        peers = network.namespaces({self.namespace or "", self.config.namespace, *named})
        return [
            {"from": [peers], "ports": [network.port(workload.GRPC_PORT)]},
            {"from": [{"namespaceSelector": {}}], "ports": [network.port(workload.METRICS_PORT)]},
        ]

    def _called(self) -> list[Manifest]:
        """Where the service connects to."""
        external = self.store.spec.storage.external
        redis = {"podSelector": {"matchLabels": self._selector(REDIS)}}
        storage: Manifest = {
            "to": network.anywhere() if external else [redis],
            "ports": [network.port(external.port if external else PORT)],
        }
        return [storage, network.dns(), network.identity(self.config), *network.telemetry(self.config)]

    def _network(
        self, name: str, component: str, *, ingress: list[Manifest], egress: list[Manifest]
    ) -> Child:
        spec = {
            "podSelector": {"matchLabels": self._selector(component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        }
        return self._child(NETWORK_POLICY, name, component, spec=spec)

    def _template(self, component: str, *, configuration: str, spec: Manifest) -> Manifest:
        return {
            "metadata": {
                "labels": self._labels(component),
                "annotations": {workload.CONFIG_HASH: configuration},
            },
            "spec": spec,
        }

    def _labels(self, component: str) -> dict[str, str]:
        return workload.labels(APPLICATION, self.store.metadata, component=component)

    def _selector(self, component: str) -> dict[str, str]:
        return workload.selector(self.store.metadata, component=component)

    def _manifest(self, kind: Kind, name: str, component: str, **content: Any) -> Manifest:
        metadata = {"name": name, "namespace": self.namespace, "labels": self._labels(component)}
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}

    def _child(self, kind: Kind, name: str, component: str, **content: Any) -> Child:
        return Child(kind, self._manifest(kind, name, component, **content))
