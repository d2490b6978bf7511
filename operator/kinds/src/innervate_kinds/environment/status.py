"""Tells whether an environment takes callers, and if not, why and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api import conditions
from innervate_kinds.api.resource import ConditionStatus
from innervate_kinds.api.workload import GRPC_PORT
from innervate_kinds.environment import waiting
from innervate_kinds.environment.model import Chain, EnvironmentStatus, TaskCounts
from innervate_kinds.environment.names import SERVER, Names
from innervate_kinds.environment.plan import COUNT_SECONDS, free, resolved
from innervate_kinds.environment.reasons import STALLING, Reason
from innervate_kinds.parts import scorer, trouble
from innervate_kinds.parts.service import host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.environment.model import Environment
    from innervate_kinds.environment.state import Observed
    from innervate_kinds.parts.pods import ContainerState

SERVER_READY = "ServerReady"
_REFUSED = 2
"""Exit code of a server whose configuration cannot be served."""


def status(
    environment: Environment, observed: Observed, _plan: Plan, failures: Sequence[Failure], now: datetime
) -> EnvironmentStatus:
    """Sum up children, references and what the servers answered."""
    accepted = conditions.true(conditions.ACCEPTED, Reason.VALID)
    jax = environment.spec.source.jax
    if jax:
        resolved_refs = conditions.true(conditions.RESOLVED_REFS, Reason.RESOLVED)
        message = "it runs inside the trainer of each RLRun that names it"
        return EnvironmentStatus(
            observed_generation=environment.metadata.generation,
            id=jax.id,
            conditions=(
                accepted,
                resolved_refs,
                conditions.true(conditions.READY, Reason.IN_TRAINER, message),
            ),
        )
    references = waiting.references(environment, observed)
    server = _failure(failures) or _server(environment, observed, now)
    ready = conditions.summarize(conditions.READY, (references, server), reason=Reason.AVAILABLE)
    progress = _progress(environment, observed, failures, ready, now)
    service = host(Names.of(environment.metadata.name).server, environment.metadata.namespace)
    return EnvironmentStatus(
        observed_generation=environment.metadata.generation,
        endpoint=f"grpcs://{service}:{GRPC_PORT}",
        **_description(environment, observed),
        **_counts(environment, observed, now),
        conditions=(accepted, references, server, ready, *progress),
    )


def _answers(observed: Observed) -> list[Mapping[str, Any]]:
    return [pod.answer.value for pod in observed.servers if pod.answer and pod.answer.value]


def _was_ready(environment: Environment) -> bool:
    return environment.status is not None and environment.status.capacity is not None


def _starting(environment: Environment) -> Condition:
    """One message for all of the start, so that its steps are no writes."""
    message = f"starting; see {trouble.show(environment.metadata, SERVER)}"
    return conditions.unknown(SERVER_READY, Reason.STARTING, message)


def _failure(failures: Sequence[Failure]) -> Condition | None:
    """Condition for the first child that was refused for good."""
    for failure in failures:
        if failure.permanent and failure.reason == Reason.NOT_OWNED:
            message = f"{failure.reference} belongs to somebody else: {failure.message}"
            return conditions.false(SERVER_READY, Reason.NOT_OWNED, message)
        if failure.permanent:
            message = f"{failure.reference} is refused: {failure.message}"
            return conditions.false(SERVER_READY, Reason.CHILD_REFUSED, message)
    return None


def _server(environment: Environment, observed: Observed, now: datetime) -> Condition:
    workload = observed.workload
    if workload is None and not resolved(environment, observed):
        return conditions.unknown(
            SERVER_READY, Reason.STARTING, "not placed before its references are resolved"
        )
    if workload is None:
        return _starting(environment)
    if not workload.complete and not workload.available:
        problem = _problem(environment, observed, now)
        if problem:
            return conditions.false(SERVER_READY, *problem)
        if not _was_ready(environment):
            return _starting(environment)
        reason = Reason.ROLLING_OUT if not workload.current or workload.old else Reason.NOT_READY
        message = f"no pod takes callers; see {trouble.show(environment.metadata, SERVER)}"
        return conditions.false(SERVER_READY, reason, message)
    return _reached(environment, observed)


def _reached(environment: Environment, observed: Observed) -> Condition:
    """Whether the pods that take callers say what they serve, and all the same."""
    silent = [pod.answer for pod in observed.servers if pod.answer and not pod.answer.value]
    if silent and len(silent) == len(observed.servers):
        message = f"the server does not answer the operator: {silent[0].message or silent[0].code}"
        if silent[0].code == "UNAVAILABLE":
            message += "; does a NetworkPolicy forbid it?"
        return conditions.false(SERVER_READY, Reason.UNREACHABLE, message)
    answers = _answers(observed)
    if not answers and not _was_ready(environment):
        return _starting(environment)
    rolled_out = observed.workload is not None and observed.workload.complete
    if rolled_out and any(answer["chain"] != answers[0]["chain"] for answer in answers):
        name = Names.of(environment.metadata.name).server
        message = (
            "pods serve environments that are not the same, as their digests tell: tasks on the volume or "
            "an image changed under its name; start all of them anew: "
            f"`kubectl rollout restart -n {environment.metadata.namespace} deployment {name}`"
        )
        return conditions.false(SERVER_READY, Reason.CHAINS_DIFFER, message)
    return conditions.true(SERVER_READY, Reason.AVAILABLE)


def _problem(environment: Environment, observed: Observed, now: datetime) -> tuple[Reason, str] | None:
    workload = observed.workload
    if workload is None:
        return None
    if workload.refused:
        return Reason.PODS_REFUSED, f"the cluster refuses to create pods: {workload.refused}"
    component = trouble.Component(
        owner=environment.metadata,
        name=SERVER,
        memory_field=lambda name: "" if name == scorer.NAME else "spec.resources.limits.memory",
        recognize=_refused,
    )
    found = trouble.problem(component, workload, now)
    if found is None:
        return None
    known = {reason.value for reason in Reason}
    reason = Reason(found.reason) if found.reason in known else Reason.CRASHING
    return _without_nodes(environment, observed, reason) or (reason, found.message)


def _refused(container: ContainerState) -> trouble.Problem | None:
    """What a server says that cannot serve what it was told to."""
    words = trouble.last_words(container.ended_message)
    if container.name != SERVER or container.exit_code != _REFUSED or not words:
        return None
    return trouble.Problem(Reason.SOURCE_REFUSED, f"the server refuses the specification: {words}")


def _without_nodes(environment: Environment, observed: Observed, reason: Reason) -> tuple[Reason, str] | None:
    placement, pool = environment.spec.placement, observed.pool
    if reason is not Reason.UNSCHEDULABLE or not placement or not pool or pool.ready_nodes:
        return None
    name = placement.compute_pool_ref.name
    message = f"ComputePool {name!r} has no ready node; see `kubectl describe computepool {name}`"
    return Reason.NO_READY_NODES, message


def _progress(
    environment: Environment,
    observed: Observed,
    failures: Sequence[Failure],
    ready: Condition,
    now: datetime,
) -> tuple[Condition, ...]:
    """`Stalled` for what waits for somebody, else `Reconciling` while something is on its way."""
    if ready.reason in STALLING:
        return (conditions.true(conditions.STALLED, ready.reason, ready.message),)
    if ready.status is not ConditionStatus.TRUE:
        return (conditions.true(conditions.RECONCILING, ready.reason, ready.message),)
    for failure in failures:
        message = f"{failure.reference}: {failure.message}; it is tried again"
        return (conditions.true(conditions.RECONCILING, Reason.CHILD_DELAYED, message),)
    if observed.workload and not observed.workload.complete:
        problem = _problem(environment, observed, now) or (Reason.ROLLING_OUT, "replacing pods")
        return (conditions.true(conditions.RECONCILING, *problem),)
    return ()


def _description(environment: Environment, observed: Observed) -> dict[str, Any]:
    """What is served: as told last, while nobody tells, or pods differ because they are being replaced."""
    old = environment.status or EnvironmentStatus()
    answers = _answers(observed)
    if not answers or any(answer["chain"] != answers[0]["chain"] for answer in answers):
        return {"id": old.id, "chain": old.chain, "tasks": old.tasks}
    told = answers[0]
    counts = TaskCounts(training=told["training"], evaluation=told["evaluation"])
    return {
        "id": told["id"],
        "chain": Chain(**told["chain"]),
        "tasks": counts if counts.training or counts.evaluation else None,
    }


def _counts(environment: Environment, observed: Observed, now: datetime) -> dict[str, Any]:
    """Slots: the new counts where they differ, and the old ones are a minute old or the pods are others.

    A ready pod that does not answer has slots, too: without it nothing is counted.
    """
    old = environment.status or EnvironmentStatus()
    answers = _answers(observed)
    kept = {"capacity": old.capacity, "free": old.free, "count_time": old.count_time}
    if not answers or len(answers) < len(observed.servers):
        return kept
    capacity, slots = sum(answer["capacity"] for answer in answers), free(observed)
    recent = old.count_time and (now - old.count_time).total_seconds() < COUNT_SECONDS
    if (capacity, slots) == (old.capacity, old.free) or (recent and capacity == old.capacity):
        return kept
    return {"capacity": capacity, "free": slots, "count_time": now.replace(microsecond=0)}
