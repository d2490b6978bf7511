"""Whether everything that a pool names is there and may be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.inference_pool.plan import placed
from innervate_kinds.inference_pool.reasons import Reason

if TYPE_CHECKING:
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.inference_pool.model import InferencePool
    from innervate_kinds.inference_pool.state import Observed

_TYPE = conditions.RESOLVED_REFS


def references(pool: InferencePool, observed: Observed) -> Condition:
    """Condition for the first reference that leads nowhere, or to what may not be used."""
    return (
        _compute_pools(pool, observed) or _releases(pool, observed) or conditions.true(_TYPE, Reason.RESOLVED)
    )


def _compute_pools(pool: InferencePool, observed: Observed) -> Condition | None:
    places = {"": ("spec.gateway", pool.spec.gateway.placement)}
    places |= {
        variant.name: (f"spec.variants[{index}]", variant.placement)
        for index, variant in enumerate(pool.spec.variants)
    }
    for variant, (field, placement) in places.items():
        if placement is None or placed(pool, observed, variant):
            continue
        name = placement.compute_pool_ref.name
        if variant not in observed.pools:
            message = (
                f"ComputePool {name!r}, named in {field}.placement.computePoolRef, does not exist; "
                "create it, or name one of `kubectl get computepools`"
            )
            return conditions.false(_TYPE, Reason.COMPUTE_POOL_NOT_FOUND, message)
        message = (
            f"ComputePool {name!r} does not allow namespace {pool.metadata.namespace!r}; label the namespace "
            f"as its spec.allowedNamespaces wants: `kubectl get computepool {name} -o yaml`"
        )
        return conditions.false(_TYPE, Reason.COMPUTE_POOL_NOT_ALLOWED, message)
    return None


def _releases(pool: InferencePool, observed: Observed) -> Condition | None:
    field = "spec.traffic" if pool.spec.traffic else "spec.model.releaseRef"
    where = f"-n {pool.metadata.namespace}"
    for name in dict.fromkeys(arm.release_ref.name for arm in pool.arms()):
        release = observed.releases.get(name)
        if release is None:
            message = (
                f"ModelRelease {name!r}, named in {field}, does not exist; create it, or name one of "
                f"`kubectl get modelreleases {where}`"
            )
            return conditions.false(_TYPE, Reason.RELEASE_NOT_FOUND, message)
        if release.refused:
            message = f"ModelRelease {name!r}, named in {field}, is not verified: {release.message}"
            return conditions.false(_TYPE, Reason.RELEASE_NOT_VERIFIED, message)
        if not release.verified:
            message = (
                f"ModelRelease {name!r}, named in {field}, is being verified; "
                f"see `kubectl describe modelrelease {where} {name}`"
            )
            return conditions.unknown(_TYPE, Reason.RELEASE_NOT_VERIFIED, message)
    return None
