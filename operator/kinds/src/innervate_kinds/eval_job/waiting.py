"""What an eval job waits for before it can ask anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from innervate_kinds.eval_job.observe import releases
from innervate_kinds.eval_job.reasons import Reason
from innervate_kinds.parts import dataset

if TYPE_CHECKING:
    from innervate_kinds.eval_job.model import EvalJob
    from innervate_kinds.eval_job.state import Observed


class Wait(NamedTuple):
    """One thing that is not there yet."""

    reason: Reason
    message: str


def unresolved(job: EvalJob, observed: Observed) -> Wait | None:
    """The first name in the specification that leads nowhere; None where all lead somewhere."""
    namespace = job.metadata.namespace
    if observed.target is None:
        name = job.spec.target.inference_pool_ref.name
        return Wait(
            Reason.POOL_NOT_FOUND,
            f"InferencePool {name!r}, named in spec.target.inferencePoolRef, does not exist; create it, "
            f"or name one of `kubectl get -n {namespace} inferencepools.innervate.dev`",
        )
    for name in observed.missing_releases:
        target = job.spec.target.release_ref
        field = "target" if target and target.name == name else "baseline"
        return Wait(
            Reason.RELEASE_NOT_FOUND,
            f"ModelRelease {name!r}, named in spec.{field}.releaseRef, does not exist; create it, or name "
            f"one of `kubectl get -n {namespace} modelreleases`",
        )
    if not observed.dataset:
        message = dataset.missing(job.spec.dataset, namespace, field="spec.dataset")
        return Wait(Reason.DATASET_NOT_FOUND, message)
    return _placement(job, observed)


def unready(job: EvalJob, observed: Observed) -> Wait | None:
    """Why the pool cannot be asked yet; None where it can."""
    pool = observed.target
    if pool is None:
        return unresolved(job, observed)
    name = pool.metadata.name
    shown = f"`kubectl describe -n {job.metadata.namespace} inferencepools.innervate.dev {name}`"
    arms = {arm.release_ref.name for arm in pool.arms()}
    for release in releases(job):
        if release not in arms:
            return Wait(
                Reason.RELEASE_NOT_SERVED,
                f"InferencePool {name!r} has no arm for release {release!r}; add one to its spec.traffic, "
                "weight 0 is enough",
            )
    status = pool.status
    if status is None or status.endpoint is None:
        return Wait(Reason.POOL_NOT_READY, f"InferencePool {name!r} has no endpoint yet; see {shown}")
    if status.routes is None or status.routes.acknowledged < pool.metadata.generation:
        return Wait(
            Reason.POOL_NOT_READY,
            f"the gateways of InferencePool {name!r} do not serve its latest specification yet; see {shown}",
        )
    return None


def _placement(job: EvalJob, observed: Observed) -> Wait | None:
    if job.spec.run.placement is None:
        return None
    name = job.spec.run.placement.compute_pool_ref.name
    if observed.placement is None:
        return Wait(
            Reason.COMPUTE_POOL_NOT_FOUND,
            f"ComputePool {name!r}, named in spec.run.placement.computePoolRef, does not exist; create it, "
            "or name one of `kubectl get computepools`",
        )
    if not observed.placement.allowed:
        return Wait(
            Reason.COMPUTE_POOL_NOT_ALLOWED,
            f"ComputePool {name!r} does not allow namespace {job.metadata.namespace!r}; label the namespace "
            f"as its spec.allowedNamespaces wants: `kubectl get computepool {name} -o yaml`",
        )
    return None
