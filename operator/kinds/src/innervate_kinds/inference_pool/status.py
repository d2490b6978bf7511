"""Tells whether a pool serves, and if not, why and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.api.resource import ConditionStatus
from innervate_kinds.inference_pool import pods
from innervate_kinds.inference_pool.model import Engine, InferencePoolStatus, Role, Routes, VariantStatus
from innervate_kinds.inference_pool.names import ENGINE, GATEWAY, HTTPS_PORT, Names
from innervate_kinds.inference_pool.plan import placed, unused, wanted
from innervate_kinds.inference_pool.reasons import STALLING, Reason
from innervate_kinds.inference_pool.redis import redis_of
from innervate_kinds.inference_pool.references import references
from innervate_kinds.parts import trouble
from innervate_kinds.parts.redis import claim
from innervate_kinds.parts.redis.part import REDIS
from innervate_kinds.parts.service import host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.inference_pool.model import InferencePool
    from innervate_kinds.inference_pool.state import EngineKey, Observed
    from innervate_kinds.parts.pods import Workload

LOG_READY, ENGINES_READY, GATEWAY_READY = "LogReady", "EnginesReady", "GatewayReady"
_TYPES = {REDIS: LOG_READY, ENGINE: ENGINES_READY, GATEWAY: GATEWAY_READY}


def status(
    pool: InferencePool, observed: Observed, _plan: Plan, failures: Sequence[Failure], now: datetime
) -> InferencePoolStatus:
    """Sum up children, references and what the gateways answered."""
    log = _failure(pool, failures, REDIS) or _log(pool, observed, now)
    engines = _failure(pool, failures, ENGINE) or _engines(pool, observed, now)
    gateway = _failure(pool, failures, GATEWAY) or _gateway(pool, observed, engines, now)
    parts = _hold_back(pool, [references(pool, observed), log, engines, gateway])
    ready = conditions.summarize(conditions.READY, parts, reason=Reason.AVAILABLE)
    progress = _progress(pool, observed, failures, ready, now)
    service = host(Names.of(pool.metadata.name).gateway, pool.metadata.namespace)
    return InferencePoolStatus(
        observed_generation=pool.metadata.generation,
        endpoint=f"https://{service}:{HTTPS_PORT}",
        release=next((arm.release_ref.name for arm in pool.arms() if arm.role is Role.STABLE), None),
        routes=Routes(generation=pool.metadata.generation, acknowledged=_acknowledged(pool, observed)),
        variants=tuple(_variants(pool, observed)),
        conditions=(conditions.true(conditions.ACCEPTED, Reason.VALID), *parts, ready, *progress),
    )


def _acknowledged(pool: InferencePool, observed: Observed) -> int:
    routes = pool.status.routes if pool.status else None
    return observed.acknowledged(known=routes.acknowledged if routes else 0)


def _was_ready(pool: InferencePool) -> bool:
    return pool.status is not None and pool.status.routes is not None and pool.status.routes.acknowledged > 0


def _variants(pool: InferencePool, observed: Observed) -> Iterator[VariantStatus]:
    keys = [key for _variant, key in wanted(pool)]
    for variant in pool.spec.variants:
        replicas = variant.replicas if variant.engine is Engine.LLAMA_CPP else 0
        yield VariantStatus(
            name=variant.name,
            replicas=replicas * sum(key.variant == variant.name for key in keys),
            ready=sum(
                workload.available
                for key, workload in observed.engines.items()
                if key.variant == variant.name
            ),
        )


def _hold_back(pool: InferencePool, parts: list[Condition]) -> list[Condition]:
    """Until everything works for the first time, tell problems only: each step would be a write."""
    if _was_ready(pool) or all(part.status is ConditionStatus.TRUE for part in parts):
        return parts
    components = {type_: component for component, type_ in _TYPES.items()}
    if _external(pool):
        del components[ENGINES_READY]
    return [
        _starting(pool, components[part.type])
        if part.status is ConditionStatus.TRUE and part.type in components
        else part
        for part in parts
    ]


def _external(pool: InferencePool) -> bool:
    return all(variant.engine is Engine.EXTERNAL for variant in pool.spec.variants)


def _starting(pool: InferencePool, component: str) -> Condition:
    """One message for all of the start, so that its steps are no writes."""
    message = f"starting; see {trouble.show(pool.metadata, component)}"
    return conditions.unknown(_TYPES[component], Reason.STARTING, message)


def _failure(pool: InferencePool, failures: Sequence[Failure], component: str) -> Condition | None:
    """Condition for the first child of a component that was refused for good."""
    names = Names.of(pool.metadata.name)
    of_gateway = {names.gateway, names.config, names.trust}
    for failure in failures:
        name = failure.reference.name
        concerned = REDIS if name in {names.redis, names.data} else GATEWAY if name in of_gateway else ENGINE
        if not failure.permanent or concerned != component or claim.resize_refused(failure):
            continue
        if failure.reason == Reason.NOT_OWNED:
            message = f"{failure.reference} belongs to somebody else: {failure.message}"
            return conditions.false(_TYPES[component], Reason.NOT_OWNED, message)
        message = f"{failure.reference} is refused: {failure.message}"
        return conditions.false(_TYPES[component], Reason.CHILD_REFUSED, message)
    return None


def _log(pool: InferencePool, observed: Observed, now: datetime) -> Condition:
    waits = claim.trouble(redis_of(pool), observed.claim, type_=LOG_READY)
    return waits or _pods(pool, observed.redis, REDIS, now) or conditions.true(LOG_READY, Reason.AVAILABLE)


def _engines(pool: InferencePool, observed: Observed, now: datetime) -> Condition:
    """Whether every release that gets requests has an engine that takes them."""
    if _was_ready(pool) and _behind(pool, observed):
        # Gateways go on with what they serve until the engines of what is wanted now take requests.
        return conditions.true(ENGINES_READY, Reason.AVAILABLE)
    for release in _without_engine(pool, observed):
        keys = [key for _variant, key in wanted(pool) if key.release == release]
        if not all(placed(pool, observed, key.variant) for key in keys):
            message = "not placed before its references are resolved"
            return conditions.unknown(ENGINES_READY, Reason.STARTING, message)
        found = observed.releases.get(release)
        if (found is None or not found.verified) and not any(key in observed.engines for key in keys):
            message = f"no engine is started before ModelRelease {release!r} is verified"
            return conditions.unknown(ENGINES_READY, Reason.RELEASE_NOT_VERIFIED, message)
        for key in keys:
            condition = _pods(pool, observed.engines.get(key), ENGINE, now)
            if condition:
                return _without_nodes(pool, observed, key, condition)
    return conditions.true(ENGINES_READY, Reason.AVAILABLE)


def _behind(pool: InferencePool, observed: Observed) -> bool:
    """Whether gateways that take requests serve an earlier generation."""
    generations = [pod.generation for pod in observed.gateways if pod.generation is not None]
    return any(generation < pool.metadata.generation for generation in generations)


def _without_engine(pool: InferencePool, observed: Observed) -> list[str]:
    """Releases that get requests, or are to, and have no engine that takes them."""
    served = {key.release for key, workload in observed.engines.items() if workload.available}
    if _external(pool):
        return []
    named = dict.fromkeys(arm.release_ref.name for arm in pool.arms() if arm.weight)
    return [release for release in named if release not in served]


def _without_nodes(
    pool: InferencePool, observed: Observed, key: EngineKey, condition: Condition
) -> Condition:
    found = observed.pools.get(key.variant)
    variant = next(each for each in pool.spec.variants if each.name == key.variant)
    if condition.reason != Reason.UNSCHEDULABLE or not variant.placement or not found or found.ready_nodes:
        return condition
    name = variant.placement.compute_pool_ref.name
    message = f"ComputePool {name!r} has no ready node; see `kubectl describe computepool {name}`"
    return conditions.false(ENGINES_READY, Reason.NO_READY_NODES, message)


def _gateway(pool: InferencePool, observed: Observed, engines: Condition, now: datetime) -> Condition:
    if observed.gateway is None and not placed(pool, observed, ""):
        message = "not placed before its references are resolved"
        return conditions.unknown(GATEWAY_READY, Reason.STARTING, message)
    waits = _pods(pool, observed.gateway, GATEWAY, now)
    if waits and waits.reason == Reason.NOT_READY and engines.status is not ConditionStatus.TRUE:
        # Nothing is wrong with a gateway that has nobody to send requests to.
        return _starting(pool, GATEWAY)
    if waits:
        return waits
    silent = [pod.answer for pod in observed.gateways if pod.answer and pod.answer.value is None]
    if silent and len(silent) == len(observed.gateways):
        message = f"the gateway does not answer the operator: {silent[0].message or silent[0].code}"
        if silent[0].code == "UNAVAILABLE":
            message += "; does a NetworkPolicy forbid it?"
        return conditions.false(GATEWAY_READY, Reason.UNREACHABLE, message)
    if not _acknowledged(pool, observed):
        return _starting(pool, GATEWAY)
    return conditions.true(GATEWAY_READY, Reason.AVAILABLE)


def _pods(pool: InferencePool, workload: Workload | None, component: str, now: datetime) -> Condition | None:
    """Condition for a workload that takes no requests; None when it does."""
    type_ = _TYPES[component]
    if workload is None:
        return _starting(pool, component)
    if workload.complete or workload.available > 0:
        return None
    problem = _problem(pool, workload, component, now)
    if problem:
        return conditions.false(type_, *problem)
    if not _was_ready(pool) or component == ENGINE:
        return _starting(pool, component)
    reason = Reason.ROLLING_OUT if not workload.current or workload.old else Reason.NOT_READY
    message = f"no pod takes requests; see {trouble.show(pool.metadata, component)}"
    return conditions.false(type_, reason, message)


def _problem(
    pool: InferencePool, workload: Workload, component: str, now: datetime
) -> tuple[Reason, str] | None:
    if workload.refused:
        return Reason.PODS_REFUSED, f"the cluster refuses to create pods: {workload.refused}"
    problem = pods.problem(pool, workload, component, now)
    return (Reason(problem.reason), problem.message) if problem else None


def _progress(
    pool: InferencePool, observed: Observed, failures: Sequence[Failure], ready: Condition, now: datetime
) -> tuple[Condition, ...]:
    """`Stalled` for what waits for somebody, else `Reconciling` while something is on its way."""
    if ready.reason in STALLING:
        return (conditions.true(conditions.STALLED, ready.reason, ready.message),)
    if ready.status is not ConditionStatus.TRUE:
        return (conditions.true(conditions.RECONCILING, ready.reason, ready.message),)
    for failure in failures:
        if claim.resize_refused(failure):
            message = claim.resize_message(redis_of(pool))
            return (conditions.true(conditions.STALLED, Reason.VOLUME_NOT_EXPANDABLE, message),)
        message = f"{failure.reference}: {failure.message}; it is tried again"
        return (conditions.true(conditions.RECONCILING, Reason.CHILD_DELAYED, message),)
    on_its_way = _rolling(pool, observed, now) or _routing(pool, observed)
    return (conditions.true(conditions.RECONCILING, *on_its_way),) if on_its_way else ()


def _rolling(pool: InferencePool, observed: Observed, now: datetime) -> tuple[Reason, str] | None:
    workloads = [(REDIS, observed.redis), (GATEWAY, observed.gateway)]
    workloads += [(ENGINE, observed.engines.get(key)) for _variant, key in wanted(pool)]
    for component, workload in workloads:
        if workload is None:
            return Reason.ROLLING_OUT, f"starting; see {trouble.show(pool.metadata, component)}"
        if not workload.complete:
            return _problem(pool, workload, component, now) or (Reason.ROLLING_OUT, "replacing pods")
    return None


def _routing(pool: InferencePool, observed: Observed) -> tuple[Reason, str] | None:
    generation = pool.metadata.generation
    for pod in observed.gateways:
        if pod.generation is not None and pod.generation < generation:
            message = f"gateway {pod.name} serves generation {pod.generation} of the pool"
            return Reason.ROUTES_PENDING, f"{message}: {pod.waits_for}" if pod.waits_for else message
    for pod in observed.gateways:
        if pod.answer and pod.generation is None and _acknowledged(pool, observed) < generation:
            words = pod.answer.message or pod.answer.code
            return Reason.ROUTES_PENDING, f"gateway {pod.name} does not tell what it serves: {words}"
    leaving = [key.release for key in unused(pool, observed)]
    if leaving:
        return Reason.ENGINES_LEAVING, f"engines of {', '.join(leaving)} get no request any more and end"
    return None
