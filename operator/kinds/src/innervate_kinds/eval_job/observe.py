"""Gathers what an eval job names, and what is there of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import JOB, Reference
from innervate_kinds.eval_job.names import RUNNER, Names
from innervate_kinds.eval_job.state import Observed
from innervate_kinds.inference_pool.model import INFERENCE_POOL, InferencePool
from innervate_kinds.model_release.model import MODEL_RELEASE
from innervate_kinds.parts import dataset, jobs, placement, pods, progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.eval_job.model import EvalJob


def references(job: EvalJob) -> Sequence[Reference]:
    """The pool, the releases, the dataset, and the pool of nodes."""
    namespace = job.metadata.namespace
    return (
        Reference(INFERENCE_POOL, namespace, job.spec.target.inference_pool_ref.name),
        *(Reference(MODEL_RELEASE, namespace, name) for name in releases(job)),
        dataset.reference(job.spec.dataset, namespace),
        *placement.references(job.spec.run.placement, job.metadata),
    )


def releases(job: EvalJob) -> tuple[str, ...]:
    """Releases that the job names."""
    named = (job.spec.target.release_ref, job.spec.baseline.release_ref if job.spec.baseline else None)
    return tuple(dict.fromkeys(each.name for each in named if each))


def observe(job: EvalJob, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read what the job names, its Job and its pods."""
    namespace = job.metadata.namespace
    pool = reader.get(Reference(INFERENCE_POOL, namespace, job.spec.target.inference_pool_ref.name))
    running = pods.owned(reader, job.metadata)
    ran = jobs.job(pods.mine(reader, job.metadata, JOB, Names.of(job.metadata.name).job), running, RUNNER)
    return Observed(
        target=InferencePool.model_validate(pool) if pool else None,
        missing_releases=tuple(
            name for name in releases(job) if reader.get(Reference(MODEL_RELEASE, namespace, name)) is None
        ),
        dataset=reader.get(dataset.reference(job.spec.dataset, namespace)) is not None,
        placement=placement.observe(job.spec.run.placement, job.metadata, reader),
        job=ran,
        progress=probes.get(progress.name(ran.last.name)) if ran and ran.last else None,
    )
