"""Gathers what is there of a pipeline's pool, releases and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import CONFIG_MAP, JOB, NETWORK_POLICY, Reference
from innervate_kinds.eval_job.model import EVAL_JOB
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline import names, probe
from innervate_kinds.learning_pipeline.candidates import declared
from innervate_kinds.learning_pipeline.model import LEARNING_PIPELINE
from innervate_kinds.learning_pipeline.record import Arm, StepName
from innervate_kinds.learning_pipeline.state import (
    EvaluationState,
    Leftover,
    Observed,
    PoolState,
    ReleaseState,
)
from innervate_kinds.model_release.model import MODEL_RELEASE, VERIFIED, Artifact
from innervate_kinds.parts import jobs, placement, pods

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from innervate_kinds.api.reader import ProbeResult, Reader
    from innervate_kinds.api.scheduling import Placement
    from innervate_kinds.learning_pipeline.model import LearningPipeline
    from innervate_kinds.parts.jobs import JobState

Json = dict[str, Any]
_REFUSED = {
    *("BlobRefused", "BlobMissing", "ManifestRefused", "ManifestMissing"),
    *("ParentRefused", "ParentMissing", "SignatureRefused", "SignatureMissing"),
}
"""Reasons of a release's condition `Verified` that are about its bytes and its signature."""


def references(pipeline: LearningPipeline) -> Sequence[Reference]:
    """The pool, the releases, other pipelines that may steer the pool, and where training runs."""
    namespace = pipeline.metadata.namespace
    return (
        Reference(INFERENCE_POOL, namespace, pipeline.spec.inference_pool_ref.name),
        Reference(LEARNING_PIPELINE, namespace, ""),
        *(Reference(MODEL_RELEASE, namespace, name) for name in sorted(set(_releases(pipeline)))),
        *placement.references(_placement(pipeline), pipeline.metadata),
    )


def observe(pipeline: LearningPipeline, reader: Reader, probes: Mapping[str, ProbeResult]) -> Observed:
    """Read what a decision may depend on."""
    metadata = pipeline.metadata
    evaluations = pods.owned(reader, metadata, EVAL_JOB)
    pool = reader.get(Reference(INFERENCE_POOL, metadata.namespace, pipeline.spec.inference_pool_ref.name))
    wanted = {*_releases(pipeline)}
    pool_state = _pool(pool) if pool else None
    if pool_state:
        wanted |= {pool_state.release, *(arm.release for arm in pool_state.traffic)}
    found = {name: reader.get(Reference(MODEL_RELEASE, metadata.namespace, name)) for name in wanted if name}
    return Observed(
        pool=pool_state,
        elder=_elder(pipeline, reader),
        releases={name: _release(item) for name, item in found.items() if item},
        training=_training(pipeline, reader),
        placement=placement.observe(_placement(pipeline), metadata, reader),
        evaluations={item["metadata"]["name"]: _evaluation(item) for item in evaluations},
        leftovers=tuple(_leftovers(pipeline, reader)),
        outcomes=probes.get(probe.OUTCOMES),
        routes=probes.get(probe.ROUTES),
    )


def _leftovers(pipeline: LearningPipeline, reader: Reader) -> Iterator[Leftover]:
    for kind in (EVAL_JOB, JOB, CONFIG_MAP, NETWORK_POLICY):
        for item in pods.owned(reader, pipeline.metadata, kind):
            finished = _evaluation(item).finished if kind == EVAL_JOB else kind == JOB and _ended(item)
            yield Leftover(kind, item["metadata"]["name"], _rollout(item), finished)


def _releases(pipeline: LearningPipeline) -> Iterator[str]:
    """Names of the releases that the pipeline may deal with."""
    for candidate in pipeline.spec.candidates:
        if candidate.release_ref:
            yield candidate.release_ref.name
        if candidate.train and candidate.train.base:
            yield candidate.train.base.release_ref.name
    state = pipeline.status
    if state is None:
        return
    if state.candidate:
        yield from filter(None, (state.candidate.release, state.candidate.base))
    yield from (arm.release for arm in state.traffic)
    if state.stable:
        yield state.stable


def _placement(pipeline: LearningPipeline) -> Placement | None:
    """Where the candidate under way is trained."""
    state = pipeline.status
    if state is None or state.candidate is None:
        return None
    candidate = declared(pipeline, state.candidate)
    return candidate.train.placement if candidate and candidate.train else None


def _pool(item: Mapping[str, Any]) -> PoolState:
    spec, status = item["spec"], item.get("status") or {}
    model = spec.get("model") or {}
    return PoolState(
        uid=item["metadata"].get("uid", ""),
        generation=item["metadata"].get("generation", 0),
        release=(model.get("releaseRef") or {}).get("name", ""),
        traffic=tuple(
            Arm(name=arm["name"], release=arm["releaseRef"]["name"], weight=arm["weight"], role=arm["role"])
            for arm in spec.get("traffic") or ()
        ),
        acknowledged=(status.get("routes") or {}).get("acknowledged", 0),
    )


def _release(item: Mapping[str, Any]) -> ReleaseState:
    condition = _condition(item, VERIFIED)
    verified = (item.get("status") or {}).get("verified")
    return ReleaseState(
        verified=verified,
        refused=verified is False and condition.get("reason") in _REFUSED,
        message=condition.get("message", ""),
        artifact=Artifact.model_validate(item["spec"]["artifact"]),
    )


def _evaluation(item: Mapping[str, Any]) -> EvaluationState:
    status = item.get("status") or {}
    told = _condition(item, "Passed") or _condition(item, "Succeeded")
    return EvaluationState(
        rollout=_rollout(item),
        finished="endTime" in status,
        verdict=status.get("verdict", ""),
        message=told.get("message", ""),
    )


def _training(pipeline: LearningPipeline, reader: Reader) -> JobState | None:
    state, metadata = pipeline.status, pipeline.metadata
    if state is None or state.step is None or state.step.name is not StepName.TRAINING:
        return None
    name = names.training(metadata.name, state.rollout)
    found = pods.mine(reader, metadata, JOB, name)
    return jobs.job(found, pods.owned(reader, metadata), names.component(state.rollout))


def _elder(pipeline: LearningPipeline, reader: Reader) -> str:
    """Name of the oldest other pipeline on the same pool, where it is older than this one."""
    mine = _seniority(pipeline.metadata.model_dump(mode="json", by_alias=True))
    others = [
        item["metadata"]
        for item in reader.list(LEARNING_PIPELINE, pipeline.metadata.namespace)
        if item["spec"]["inferencePoolRef"]["name"] == pipeline.spec.inference_pool_ref.name
        and item["metadata"].get("uid", "") != pipeline.metadata.uid
        and "deletionTimestamp" not in item["metadata"]
    ]
    older = sorted(_seniority(other) for other in others if _seniority(other) < mine)
    return older[0][1] if older else ""


def _seniority(metadata: Mapping[str, Any]) -> tuple[str, str]:
    return metadata.get("creationTimestamp") or "", metadata["name"]


def _rollout(item: Mapping[str, Any]) -> int:
    text = (item["metadata"].get("labels") or {}).get(names.ROLLOUT, "")
    return int(text) if text.isdigit() else 0


def _ended(item: Mapping[str, Any]) -> bool:
    state = jobs.job(item, (), "")
    return state is not None and state.finished


def _condition(item: Mapping[str, Any], type_: str) -> Json:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return next((dict(each) for each in conditions if each["type"] == type_), {})
