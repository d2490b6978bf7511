"""Decides what a pool needs: engines for each verified release, the gateway, and the exchange log's Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import workload
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    POD_DISRUPTION_BUDGET,
    SERVICE,
    Reference,
)
from innervate_kinds.api.plan import Note, Plan
from innervate_kinds.inference_pool import engines, gateway
from innervate_kinds.inference_pool.model import Engine
from innervate_kinds.inference_pool.names import APPLICATION, GATEWAY, Names, engine_name
from innervate_kinds.inference_pool.redis import redis_of
from innervate_kinds.inference_pool.state import EngineKey
from innervate_kinds.parts.children import Maker
from innervate_kinds.parts.redis import children as redis_children
from innervate_kinds.parts.redis import claim

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from innervate_kinds.api.plan import Child, Config
    from innervate_kinds.inference_pool.model import InferencePool, Variant
    from innervate_kinds.inference_pool.state import Observed

UNSETTLED_SECONDS = 10.0
"""Time to the next visit while something is starting or wrong."""


def plan(pool: InferencePool, observed: Observed, config: Config, _now: datetime) -> Plan:
    """Plan a pool's children.

    An engine is planned for a release only once that is verified, and goes only when no gateway sends it
    requests any more. Nothing is planned on top of data that an earlier pool retained, unless the pool is
    told to adopt it.
    """
    redis = redis_of(pool)
    if claim.retained(redis, observed.claim) or claim.leaving(redis, observed.claim):
        return Plan()
    names = Names.of(pool.metadata.name)
    make = Maker(pool.metadata, APPLICATION)
    trust = make.child(CONFIG_MAP, names.trust, GATEWAY, data=workload.trust_data(config))
    apply = (trust, *redis_children.children(redis, config))
    if placed(pool, observed, ""):
        apply += gateway.children(pool, config, observed.pools.get(""))
    apply += _engines(pool, observed, config)
    return Plan(
        apply=apply,
        ensure=(redis_children.password(redis), engines.key_secret(pool)),
        delete=(*_left_engines(pool, observed), *_left_budgets(pool, observed)),
        requeue_after=None if settled(pool, observed) else UNSETTLED_SECONDS,
        notes=_notes(pool, observed, config),
    )


def wanted(pool: InferencePool) -> Iterator[tuple[Variant, EngineKey]]:
    """Engines that the specification asks for: one of each variant for each release that has an arm."""
    releases = dict.fromkeys(arm.release_ref.name for arm in pool.arms())
    for variant in pool.spec.variants:
        if variant.engine is Engine.LLAMA_CPP:
            for release in releases:
                yield variant, EngineKey(variant.name, release)


def placed(pool: InferencePool, observed: Observed, variant: str) -> bool:
    """Whether the ComputePool that a variant (empty: the gateway) names is there and allows the namespace."""
    placements = {"": pool.spec.gateway.placement} | {
        each.name: each.placement for each in pool.spec.variants
    }
    if placements[variant] is None:
        return True
    found = observed.pools.get(variant)
    return found is not None and found.allowed


def settled(pool: InferencePool, observed: Observed) -> bool:
    """Whether everything is there, takes requests, and every gateway serves this generation."""
    keys = {key for _variant, key in wanted(pool)}
    workloads = [observed.redis, observed.gateway, *(observed.engines.get(key) for key in keys)]
    return (
        all(each is not None and each.complete for each in workloads)
        and observed.engines.keys() == keys
        and observed.acknowledged(known=0) == pool.metadata.generation
    )


def unused(pool: InferencePool, observed: Observed) -> Iterator[EngineKey]:
    """Engines that are there, are not asked for, and get no request any more.

    By what gateways say that they serve, not by what they were told: every one of them has taken this
    generation into use, and names the release no more, or it is served by engines that stay.
    """
    keys = {key for _variant, key in wanted(pool)}
    served = {key.release for key in keys if (found := observed.engines.get(key)) and found.available}
    if not observed.gateways:
        return
    if any(pod.generation != pool.metadata.generation for pod in observed.gateways):
        return
    routed = frozenset[str]().union(*(pod.releases for pod in observed.gateways))
    for key in sorted(observed.engines):
        if key not in keys and (key.release not in routed or key.release in served):
            yield key


def _engines(pool: InferencePool, observed: Observed, config: Config) -> tuple[Child, ...]:
    verified = {name: each.artifact for name, each in observed.releases.items() if each.verified}
    asked = [
        (variant, key)
        for variant, key in wanted(pool)
        if key.release in verified and placed(pool, observed, variant.name)
    ]
    if not asked and not observed.engines:
        return ()
    found = engines.shared(pool, verified.values())
    for variant, key in asked:
        found += engines.children(
            pool,
            variant,
            key,
            artifact=verified[key.release],
            config=config,
            compute_pool=observed.pools.get(variant.name),
        )
    return found


def _left_engines(pool: InferencePool, observed: Observed) -> Iterator[Reference]:
    for key in unused(pool, observed):
        name = engine_name(pool.metadata.name, *key)
        for kind in (DEPLOYMENT, SERVICE):
            yield Reference(kind, pool.metadata.namespace, name)
        if name in observed.budgets:
            yield Reference(POD_DISRUPTION_BUDGET, pool.metadata.namespace, name)


def _left_budgets(pool: InferencePool, observed: Observed) -> Iterator[Reference]:
    """Budgets of what has one replica by now: they would do nothing but keep a node from being drained."""
    single = [Names.of(pool.metadata.name).gateway] if pool.spec.gateway.replicas == 1 else []
    single += [
        engine_name(pool.metadata.name, *key) for variant, key in wanted(pool) if variant.replicas == 1
    ]
    for name in single:
        if name in observed.budgets:
            yield Reference(POD_DISRUPTION_BUDGET, pool.metadata.namespace, name)


def _notes(pool: InferencePool, observed: Observed, config: Config) -> tuple[Note, ...]:
    namespace = pool.metadata.namespace
    callers = [
        f"{subject.namespace or namespace}/{subject.name}: requests and feedback"
        for rule in pool.spec.access
        for subject in rule.service_accounts
    ] or [f"each service account of {namespace}: requests and feedback"]
    egress = [
        "DNS",
        f"identity authority {config.identity_endpoint}",
        "the Kubernetes API, for the gateway: this InferencePool and EndpointSlices",
    ]
    egress += [f"{each.external.url}, for the gateway" for each in pool.spec.variants if each.external]
    egress += [
        f"{release.artifact.uri}, for engines as they start"
        for release in observed.releases.values()
        if not release.artifact.uri.startswith("pvc://")
    ]
    if config.otlp_endpoint:
        egress.append(f"telemetry {config.otlp_endpoint}")
    costs = [
        f"{found.spec.cost_per_hour} per hour for each node that {name or 'the gateway'} is placed on"
        for name, found in observed.pools.items()
    ] or ["not known: no ComputePool is named in a placement"]
    return (
        *(Note("permission", text) for text in callers),
        *(Note("egress", text) for text in egress),
        *(Note("cost", text) for text in costs),
    )
