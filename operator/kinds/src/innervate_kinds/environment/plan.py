"""Decides what an environment needs: servers and their Service, or nothing where the trainer runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import network, workload
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    SERVICE_ACCOUNT,
    Reference,
)
from innervate_kinds.api.plan import Note, Plan
from innervate_kinds.environment import containers
from innervate_kinds.environment.names import APPLICATION, SERVER, Names
from innervate_kinds.parts.children import Maker
from innervate_kinds.parts.service import disruption_budget

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.api.plan import Child, Config, Manifest
    from innervate_kinds.environment.model import Environment
    from innervate_kinds.environment.state import Observed

UNSETTLED_SECONDS = 10.0
"""Time to the next visit while something is starting or wrong."""
COUNT_SECONDS = 60.0
"""Least time between two counts of slots in the status."""


def plan(environment: Environment, observed: Observed, config: Config, _now: datetime) -> Plan:
    """Plan an environment's children.

    No server is placed before the tasks and the pool of nodes that it names are there.
    """
    if environment.spec.source.jax:
        return Plan(notes=(Note("cost", "none: it runs inside the trainer"),))
    one = environment.spec.replicas == 1 and observed.disruption_budget
    name = Names.of(environment.metadata.name).server
    budget = Reference(POD_DISRUPTION_BUDGET, environment.metadata.namespace, name)
    return Plan(
        apply=_children(environment, observed, config) if resolved(environment, observed) else (),
        delete=(budget,) if one else (),
        requeue_after=_requeue(environment, observed),
        notes=_notes(environment, observed, config),
    )


def resolved(environment: Environment, observed: Observed) -> bool:
    """Whether everything that the specification names is there and may be used."""
    placed = environment.spec.placement is None or (observed.pool is not None and observed.pool.allowed)
    return placed and (environment.spec.source.tasks is None or observed.dataset is not None)


def free(observed: Observed) -> int:
    """Slots that nobody holds, of all pods that answered."""
    return sum(pod.answer.value["free"] for pod in observed.servers if pod.answer and pod.answer.value)


def _requeue(environment: Environment, observed: Observed) -> float | None:
    answered = [pod for pod in observed.servers if pod.answer and pod.answer.value]
    settled = observed.workload and observed.workload.complete and len(answered) == len(observed.servers)
    if not settled:
        return UNSETTLED_SECONDS
    counted = environment.status.free if environment.status else None
    return COUNT_SECONDS if counted != free(observed) else None


def _children(environment: Environment, observed: Observed, config: Config) -> tuple[Child, ...]:
    names, replicas = Names.of(environment.metadata.name), environment.spec.replicas
    make = Maker(environment.metadata, APPLICATION)
    text = containers.server_config(environment, config)
    selector = make.selector(SERVER)
    port = {"name": "grpc", "port": workload.GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"}
    deployment = {
        "replicas": replicas,
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": make.template(
            SERVER,
            # Tasks are read as a pod starts: changed ones must reach all pods, or none.
            configuration=workload.digest(text, observed.dataset or ""),
            spec=containers.pod(environment, config, observed.pool),
        ),
    }
    children = (
        make.child(SERVICE_ACCOUNT, names.server, SERVER, automountServiceAccountToken=False),
        make.child(CONFIG_MAP, names.trust, SERVER, data=workload.trust_data(config)),
        make.child(CONFIG_MAP, names.config, SERVER, data={"config.json": text}),
        make.network(
            names.server,
            SERVER,
            ingress=_callers(environment, config),
            egress=[network.dns(), network.identity(config), *network.telemetry(config)],
        ),
        make.child(SERVICE, names.server, SERVER, spec={"selector": selector, "ports": [port]}),
        make.child(DEPLOYMENT, names.server, SERVER, spec=deployment),
    )
    if replicas == 1:
        return children
    budget = make.child(POD_DISRUPTION_BUDGET, names.server, SERVER, spec=disruption_budget(selector))
    return (*children, budget)


def _callers(environment: Environment, config: Config) -> list[Manifest]:
    """Who may connect: those of the access rules, or the environment's namespace; the operator's."""
    own = environment.metadata.namespace or ""
    named = {
        subject.namespace or own for rule in environment.spec.access for subject in rule.service_accounts
    } or {own}
    return [
        {
            "from": [network.namespaces({config.namespace, *named})],
            "ports": [network.port(workload.GRPC_PORT)],
        },
        {"from": [{"namespaceSelector": {}}], "ports": [network.port(workload.METRICS_PORT)]},
    ]


def _notes(environment: Environment, observed: Observed, config: Config) -> tuple[Note, ...]:
    namespace = environment.metadata.namespace
    callers = [
        f"{subject.namespace or namespace}/{subject.name}: practises"
        for rule in environment.spec.access
        for subject in rule.service_accounts
    ] or [f"each service account of {namespace}: practises"]
    egress = ["DNS", f"identity authority {config.identity_endpoint}"]
    if config.otlp_endpoint:
        egress.append(f"telemetry {config.otlp_endpoint}")
    cost = (
        f"{observed.pool.spec.cost_per_hour} per hour for each node of the pool it is placed on"
        if observed.pool
        else "not known: no ComputePool is named in spec.placement"
    )
    return (
        *(Note("permission", text) for text in callers),
        *(Note("egress", text) for text in egress),
        Note("cost", cost),
    )
