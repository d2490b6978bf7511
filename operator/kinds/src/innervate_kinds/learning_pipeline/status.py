"""Tells where a pipeline stands: the machine's next status, and conditions about it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.api.resource import ConditionStatus
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline import machine, traffic, training
from innervate_kinds.learning_pipeline.candidates import declared
from innervate_kinds.learning_pipeline.record import StepName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.learning_pipeline.model import LearningPipeline
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus
    from innervate_kinds.learning_pipeline.state import Observed

TRAFFIC_APPLIED = "TrafficApplied"


class Reason(StrEnum):
    """Why a condition of a LearningPipeline is as it is."""

    VALID = "Valid"
    """The specification is accepted."""
    POOL_TAKEN = "PoolTaken"
    """An older pipeline steers the same pool."""
    RESOLVED = "Resolved"
    """Everything that is needed now is there."""
    POOL_NOT_FOUND = "PoolNotFound"
    """The InferencePool does not exist."""
    POOL_WITHOUT_RELEASES = "PoolWithoutReleases"
    """The InferencePool has External engines, which serve no releases."""
    RELEASE_NOT_FOUND = "ReleaseNotFound"
    """A ModelRelease that the candidate under way needs does not exist."""
    COMPUTE_POOL_NOT_FOUND = "ComputePoolNotFound"
    """The ComputePool that training is placed on does not exist."""
    COMPUTE_POOL_NOT_ALLOWED = "ComputePoolNotAllowed"
    """That ComputePool does not allow workloads of this namespace."""
    APPLIED = "Applied"
    """The pool has the traffic as decided, and every gateway serves it."""
    WAITING = "Waiting"
    """Not every gateway serves the traffic as decided yet."""
    WITHHELD = "Withheld"
    """The traffic as decided would go to a release that is not verified now."""
    POOL_REFUSED = "PoolRefused"
    """The API server refuses the traffic; the message holds its words."""
    CHILD_REFUSED = "ChildRefused"
    """The API server refuses a child for good, or somebody else has its name."""
    CHILD_DELAYED = "ChildDelayed"
    """Something could not be applied now; it is tried again."""
    STEERING = "Steering"
    """The pipeline works."""
    TRAINING = "Training"
    """The candidate is trained."""
    RELEASING = "Releasing"
    """The candidate's release is being verified."""
    WARMING = "Warming"
    """The candidate's engine starts."""
    GATING = "Gating"
    """EvalJobs ask the candidate questions."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """The candidate waits for a person."""
    CANARY = "Canary"
    """The candidate takes a share of the traffic and is judged."""
    PROMOTING = "Promoting"
    """The candidate is to take all traffic."""
    ROLLING_BACK = "RollingBack"
    """The stable release is to take all traffic."""


_STALLING = {
    *(Reason.POOL_TAKEN, Reason.POOL_NOT_FOUND, Reason.POOL_WITHOUT_RELEASES),
    *(Reason.COMPUTE_POOL_NOT_FOUND, Reason.COMPUTE_POOL_NOT_ALLOWED, Reason.CHILD_REFUSED),
    *(Reason.POOL_REFUSED,),
}
"""Reasons that pass only by somebody's action."""


def status(
    pipeline: LearningPipeline,
    observed: Observed,
    _plan: Plan,
    failures: Sequence[Failure],
    now: datetime,
) -> LearningPipelineStatus:
    """Decide what comes next, and tell it."""
    state = machine.advance(pipeline, observed, now)
    accepted = _accepted(pipeline, observed)
    references = _references(pipeline, observed, state)
    applied = _traffic(pipeline, observed, failures, state)
    parts = [accepted, references]
    if applied.status is ConditionStatus.FALSE:
        parts.append(applied)
    refused = _refused(failures)
    ready = conditions.summarize(
        conditions.READY, [*parts, *([refused] if refused else [])], reason=Reason.STEERING
    )
    return state.model_copy(
        update={
            "observed_generation": pipeline.metadata.generation,
            "trace": None,
            "conditions": (
                accepted,
                references,
                applied,
                ready,
                *_progress(pipeline, state, failures, ready, training.problem(pipeline, observed, now)),
            ),
        }
    )


def _accepted(pipeline: LearningPipeline, observed: Observed) -> Condition:
    if not observed.elder:
        return conditions.true(conditions.ACCEPTED, Reason.VALID)
    pool = pipeline.spec.inference_pool_ref.name
    message = (
        f"LearningPipeline {observed.elder!r} is older and steers InferencePool {pool!r}; delete one of the "
        f"two: `kubectl get -n {pipeline.metadata.namespace} learningpipelines`"
    )
    return conditions.false(conditions.ACCEPTED, Reason.POOL_TAKEN, message)


def _references(pipeline: LearningPipeline, observed: Observed, state: LearningPipelineStatus) -> Condition:
    type_ = conditions.RESOLVED_REFS
    where = f"-n {pipeline.metadata.namespace}"
    pool = pipeline.spec.inference_pool_ref.name
    if observed.pool is None:
        message = (
            f"InferencePool {pool!r}, named in spec.inferencePoolRef, does not exist; create it, or see "
            f"`kubectl get {where} inferencepools.innervate.dev`"
        )
        return conditions.false(type_, Reason.POOL_NOT_FOUND, message)
    if not observed.pool.release:
        message = f"InferencePool {pool!r} has External engines, which serve no releases to choose among"
        return conditions.false(type_, Reason.POOL_WITHOUT_RELEASES, message)
    problem = _missing(pipeline, observed, state)
    return conditions.false(type_, *problem) if problem else conditions.true(type_, Reason.RESOLVED)


def _missing(
    pipeline: LearningPipeline, observed: Observed, state: LearningPipelineStatus
) -> tuple[Reason, str] | None:
    """What the candidate under way needs and lacks."""
    trial, step = state.candidate, state.step
    if trial is None or step is None:
        return None
    candidate = declared(pipeline, trial)
    train = candidate.train if candidate else None
    needed = trial.base if step.name is StepName.TRAINING else trial.release
    made_here = train is not None and needed == trial.release
    if needed and needed not in observed.releases and not made_here:
        message = (
            f"ModelRelease {needed!r}, which candidate {trial.name!r} needs, does not exist; create it, or "
            f"abort: `innervate pipeline abort -n {pipeline.metadata.namespace} {pipeline.metadata.name}`"
        )
        return Reason.RELEASE_NOT_FOUND, message
    if train is None or train.placement is None or step.name is not StepName.TRAINING:
        return None
    name = train.placement.compute_pool_ref.name
    if observed.placement is None:
        message = f"ComputePool {name!r}, on which candidate {trial.name!r} is trained, does not exist"
        return Reason.COMPUTE_POOL_NOT_FOUND, message
    if not observed.placement.allowed:
        message = f"ComputePool {name!r} does not allow namespace {pipeline.metadata.namespace!r}"
        return Reason.COMPUTE_POOL_NOT_ALLOWED, message
    return None


def _traffic(
    pipeline: LearningPipeline,
    observed: Observed,
    failures: Sequence[Failure],
    state: LearningPipelineStatus,
) -> Condition:
    for failure in failures:
        if failure.reference.kind == INFERENCE_POOL:
            message = f"{failure.reference} does not take the traffic: {failure.message}"
            return conditions.false(TRAFFIC_APPLIED, Reason.POOL_REFUSED, message)
    if not state.traffic or traffic.acknowledged(observed.pool, state.traffic):
        return conditions.true(TRAFFIC_APPLIED, Reason.APPLIED)
    pool = pipeline.spec.inference_pool_ref.name
    if observed.pool is not None and not traffic.allowed(state.traffic, observed):
        names = ", ".join(
            arm.release for arm in state.traffic if arm.weight and not observed.verified(arm.release)
        )
        message = (
            f"traffic is withheld from what is not verified: {names}; see `kubectl get -n "
            f"{pipeline.metadata.namespace} modelreleases`"
        )
        return conditions.false(TRAFFIC_APPLIED, Reason.WITHHELD, message)
    message = f"not every gateway of InferencePool {pool!r} serves the traffic as decided yet"
    return conditions.unknown(TRAFFIC_APPLIED, Reason.WAITING, message)


def _refused(failures: Sequence[Failure]) -> Condition | None:
    for failure in failures:
        if failure.permanent and failure.reference.kind != INFERENCE_POOL:
            message = f"{failure.reference} is refused: {failure.message}"
            return conditions.false(conditions.READY, Reason.CHILD_REFUSED, message)
    return None


def _progress(
    pipeline: LearningPipeline,
    state: LearningPipelineStatus,
    failures: Sequence[Failure],
    ready: Condition,
    problem: str,
) -> tuple[Condition, ...]:
    """`Stalled` for what waits for somebody, else `Reconciling` while a candidate is under way."""
    if ready.reason in _STALLING:
        return (conditions.true(conditions.STALLED, ready.reason, ready.message),)
    if ready.status is not ConditionStatus.TRUE:
        return (conditions.true(conditions.RECONCILING, ready.reason, ready.message),)
    if failures:
        message = f"{failures[0].reference}: {failures[0].message}; it is tried again"
        return (conditions.true(conditions.RECONCILING, Reason.CHILD_DELAYED, message),)
    if state.step is None or state.candidate is None:
        return ()
    reason = Reason(state.step.name.value)
    words = _words(pipeline, state) + (f"; {problem}" if problem else "")
    return (conditions.true(conditions.RECONCILING, reason, words),)


def _words(pipeline: LearningPipeline, state: LearningPipelineStatus) -> str:
    """What the candidate waits for, in words that stay the same while it waits."""
    trial, step = state.candidate, state.step
    if trial is None or step is None:
        return ""
    where = f"-n {pipeline.metadata.namespace}"
    approve = f"`innervate pipeline approve {where} {pipeline.metadata.name}`"
    words = {
        StepName.TRAINING: f"is trained from {trial.base!r}; see `innervate get {where} lp --tree`",
        StepName.RELEASING: f"waits until ModelRelease {trial.release!r} is verified",
        StepName.WARMING: "has an arm of weight 0, and its engine is not ready yet",
        StepName.GATING: f"is asked questions: `kubectl get {where} evaljobs`",
        StepName.AWAITING_APPROVAL: f"waits for {approve}: {step.message}",
        StepName.CANARY: f"takes {step.percent} % of the traffic and is judged on feedback",
        StepName.PROMOTING: f"is promoted: {step.message}",
        StepName.ROLLING_BACK: f"is taken back: {step.message}",
    }
    return f"candidate {trial.name!r} {words[step.name]}"
