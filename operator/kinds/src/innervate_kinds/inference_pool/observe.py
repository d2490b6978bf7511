"""Gathers what is there of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import (
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD_DISRUPTION_BUDGET,
    STATEFUL_SET,
    Reference,
)
from innervate_kinds.api.resource import ConditionStatus
from innervate_kinds.inference_pool import probe
from innervate_kinds.inference_pool.names import ENGINE, GATEWAY, RELEASE, VARIANT, Names
from innervate_kinds.inference_pool.state import EngineKey, GatewayPod, Observed, Release
from innervate_kinds.model_release.model import MODEL_RELEASE, VERIFIED, ModelRelease, is_verified
from innervate_kinds.parts import placement, pods
from innervate_kinds.parts.redis import claim
from innervate_kinds.parts.redis.part import REDIS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.api.resource import ObjectMeta
    from innervate_kinds.api.scheduling import Placement
    from innervate_kinds.inference_pool.model import InferencePool
    from innervate_kinds.parts.placement import Pool
    from innervate_kinds.parts.pods import Workload

_COMPONENT = "app.kubernetes.io/component"


def references(pool: InferencePool) -> Sequence[Reference]:
    """The volume claim, which may be an earlier pool's; the releases; the ComputePools."""
    namespace = pool.metadata.namespace
    found = {Reference(PERSISTENT_VOLUME_CLAIM, namespace, Names.of(pool.metadata.name).data): None}
    for release in releases(pool):
        found[Reference(MODEL_RELEASE, namespace, release)] = None
    for _name, placed in _placements(pool):
        found.update(dict.fromkeys(placement.references(placed, pool.metadata)))
    return tuple(found)


def releases(pool: InferencePool) -> Sequence[str]:
    """Names of the releases that have an arm, each once, in the order of the arms."""
    return tuple(dict.fromkeys(arm.release_ref.name for arm in pool.arms()))


def observe(pool: InferencePool, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read the pool's children, what it refers to, and the last answers of its gateways."""
    names, owner = Names.of(pool.metadata.name), pool.metadata
    running = pods.owned(reader, owner)
    gateway = pods.workload(pods.mine(reader, owner, DEPLOYMENT, names.gateway), running, GATEWAY)
    return Observed(
        redis=pods.workload(pods.mine(reader, owner, STATEFUL_SET, names.redis), running, REDIS),
        gateway=gateway,
        claim=claim.read(reader.get(Reference(PERSISTENT_VOLUME_CLAIM, owner.namespace, names.data))),
        engines=dict(_engines(reader, owner, running)),
        releases={name: release for name in releases(pool) if (release := _release(pool, reader, name))},
        pools=dict(_pools(pool, reader)),
        gateways=tuple(
            GatewayPod(name=pod.name, address=pod.address, answer=probes.get(probe.name(pod.name)))
            for pod in (gateway.pods if gateway else ())
            if pod.ready and pod.address
        ),
        budgets=frozenset(
            budget["metadata"]["name"] for budget in pods.owned(reader, owner, POD_DISRUPTION_BUDGET)
        ),
    )


def _placements(pool: InferencePool) -> Iterator[tuple[str, Placement | None]]:
    yield "", pool.spec.gateway.placement
    for variant in pool.spec.variants:
        yield variant.name, variant.placement


def _pools(pool: InferencePool, reader: Reader) -> Iterator[tuple[str, Pool]]:
    for name, placed in _placements(pool):
        found = placement.observe(placed, pool.metadata, reader)
        if found:
            yield name, found


def _engines(
    reader: Reader, owner: ObjectMeta, running: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[EngineKey, Workload]]:
    for deployment in pods.owned(reader, owner, DEPLOYMENT):
        component = deployment["metadata"]["labels"].get(_COMPONENT)
        key = _key(deployment)
        # One that lost its labels is planned again, and has them back.
        if component != ENGINE or key is None or deployment["metadata"].get("deletionTimestamp"):
            continue
        own = [pod for pod in running if _key(pod) == key]
        workload = pods.workload(deployment, own, ENGINE)
        if workload:
            yield key, workload


def _key(item: Mapping[str, Any]) -> EngineKey | None:
    """Which engines a Deployment or a pod belongs to; None where its labels do not say."""
    labels = item["metadata"]["labels"]
    return EngineKey(labels[VARIANT], labels[RELEASE]) if labels.keys() >= {VARIANT, RELEASE} else None


def _release(pool: InferencePool, reader: Reader, name: str) -> Release | None:
    found = reader.get(Reference(MODEL_RELEASE, pool.metadata.namespace, name))
    if not found:
        return None
    release = ModelRelease.model_validate(found)
    verdict = release.status.condition(VERIFIED) if release.status else None
    return Release(
        artifact=release.spec.artifact,
        verified=is_verified(release),
        refused=verdict is not None and verdict.status is ConditionStatus.FALSE,
        message=verdict.message if verdict else "",
    )
