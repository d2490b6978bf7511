"""Acts on what the status says, and on nothing else.

What is observed decides only what may not be done now: traffic to a release that is not verified.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from innervate_kinds.api.kind import Reference
from innervate_kinds.api.plan import Child, Note, Patch, Plan
from innervate_kinds.eval_job.model import EVAL_JOB
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline import gating, names, traffic, trainer
from innervate_kinds.learning_pipeline.candidates import declared
from innervate_kinds.learning_pipeline.record import StepName
from innervate_kinds.parts.children import Maker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from innervate_kinds.api.plan import Config
    from innervate_kinds.learning_pipeline.model import Candidate, LearningPipeline
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus, Step
    from innervate_kinds.learning_pipeline.state import Observed

_SOON, _LATE_WORDS = 1.0, 5.0
_TIDY = {None, StepName.TRAINING, StepName.RELEASING}
"""Steps at which there is time to tidy up."""


def plan(pipeline: LearningPipeline, observed: Observed, config: Config, now: datetime) -> Plan:
    """Plan what the decision in the status needs: jobs, releases, and the pool's traffic."""
    state = pipeline.status
    if state is None or observed.pool is None or observed.elder:
        return Plan(notes=_notes(pipeline))
    step = state.step.name if state.step else None
    candidate = declared(pipeline, state.candidate) if state.candidate else None
    apply: tuple[Child, ...] = ()
    if candidate and step is StepName.TRAINING:
        apply = _training(pipeline, candidate, observed, config)
    elif candidate and candidate.train and state.candidate and step is StepName.RELEASING:
        apply = (trainer.release(pipeline, state.candidate, candidate.train),)
    elif step is StepName.GATING:
        apply = tuple(_evaluations(pipeline, state))
    return Plan(
        apply=apply,
        delete=tuple(_leftovers(pipeline, state, observed)) if step in _TIDY else (),
        patches=_patches(pipeline, state, observed),
        requeue_after=_requeue(pipeline, state, observed, now),
        notes=_notes(pipeline),
    )


def _training(
    pipeline: LearningPipeline, candidate: Candidate, observed: Observed, config: Config
) -> tuple[Child, ...]:
    trial = pipeline.status.candidate if pipeline.status else None
    base = observed.releases.get(trial.base or "") if trial else None
    place = candidate.train.placement if candidate.train else None
    placed = place is None or (observed.placement is not None and observed.placement.allowed)
    if candidate.train is None or base is None or not base.verified or not placed:
        return ()
    return trainer.job(pipeline, candidate.train, base, observed, config)


def _evaluations(pipeline: LearningPipeline, state: LearningPipelineStatus) -> Iterator[Child]:
    maker = Maker(pipeline.metadata, names.APPLICATION)
    release = state.candidate.release if state.candidate else None
    for gate in pipeline.spec.gates:
        template = gate.eval_job_template.model_dump(mode="json", by_alias=True, exclude_none=True)
        spec = {
            **template,
            "target": {
                "inferencePoolRef": {"name": pipeline.spec.inference_pool_ref.name},
                "releaseRef": {"name": release},
            },
            "baseline": {"releaseRef": {"name": state.stable}},
        }
        name = gating.job(pipeline, state.rollout, gate)
        yield maker.child(
            EVAL_JOB, name, f"gate-{gate.name}", labels={names.ROLLOUT: str(state.rollout)}, spec=spec
        )


def _patches(
    pipeline: LearningPipeline, state: LearningPipelineStatus, observed: Observed
) -> tuple[Patch, ...]:
    """The pool's traffic as decided; nothing while the pool's own release serves."""
    if observed.pool is None or not state.traffic or not traffic.allowed(state.traffic, observed):
        return ()
    arms = [
        {"name": arm.name, "releaseRef": {"name": arm.release}, "weight": arm.weight, "role": str(arm.role)}
        for arm in state.traffic
    ]
    manifest = {
        "apiVersion": INFERENCE_POOL.api_version,
        "kind": INFERENCE_POOL.kind,
        "metadata": {
            "name": pipeline.spec.inference_pool_ref.name,
            "namespace": pipeline.metadata.namespace,
            "uid": observed.pool.uid,
        },
        "spec": {"traffic": arms},
    }
    return (Patch(INFERENCE_POOL, manifest, names.TRAFFIC_MANAGER),)


def _leftovers(
    pipeline: LearningPipeline, state: LearningPipelineStatus, observed: Observed
) -> Iterator[Reference]:
    """What was broken off, and what belongs to rollouts that the history forgot."""
    current = state.rollout if state.candidate else None
    known = {entry.rollout for entry in state.history}
    for each in observed.leftovers:
        if each.rollout != current and (not each.finished or each.rollout not in known):
            yield Reference(each.kind, pipeline.metadata.namespace, each.name)


def _requeue(
    pipeline: LearningPipeline, state: LearningPipelineStatus, observed: Observed, now: datetime
) -> float | None:
    """Seconds until something is due by the clock."""
    if observed.training and observed.training.finished:
        # What a Job's pod said may be heard after the Job's end.
        return _LATE_WORDS
    moments = list(_moments(pipeline, state.step)) if state.step else []
    if state.previous and not state.step:
        moments.append(state.previous.until_time)
    ahead = [(moment - now).total_seconds() for moment in moments]
    return min((max(seconds, _SOON) for seconds in ahead if seconds > -_SOON), default=None)


def _moments(pipeline: LearningPipeline, step: Step) -> Iterator[datetime]:
    rollout = pipeline.spec.rollout
    if step.name is StepName.WARMING:
        yield step.start_time + timedelta(seconds=rollout.ready_seconds)
    elif step.name is StepName.CANARY:
        wanted = rollout.steps[min(step.index or 0, len(rollout.steps) - 1)]
        yield step.start_time + timedelta(seconds=wanted.min_seconds)
        yield step.start_time + timedelta(seconds=wanted.max_seconds)


def _notes(pipeline: LearningPipeline) -> tuple[Note, ...]:
    pool = pipeline.spec.inference_pool_ref.name
    trains = [candidate.train for candidate in pipeline.spec.candidates if candidate.train]
    permissions = [f"writes spec.traffic of InferencePool {pool!r}, whole"]
    permissions += sorted({f"trains into {train.output.uri}" for train in trains})
    return tuple(Note("permission", text) for text in permissions)
