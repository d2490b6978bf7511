"""Canary steps: a growing share of the traffic, judged on feedback as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.learning_pipeline import judge, traffic
from innervate_kinds.learning_pipeline.ending import leave
from innervate_kinds.learning_pipeline.model import Inconclusive, Promotion
from innervate_kinds.learning_pipeline.record import Step, StepName, Verdict

if TYPE_CHECKING:
    from innervate_kinds.learning_pipeline.judge import Findings
    from innervate_kinds.learning_pipeline.model import RolloutStep
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus
    from innervate_kinds.learning_pipeline.scene import Scene


def enter(scene: Scene, index: int) -> LearningPipelineStatus:
    """Begin a canary step; not before the candidate's release is verified."""
    if not scene.observed.verified(scene.release):
        return scene.state
    wanted = scene.pipeline.spec.rollout.steps[index]
    found = judge.findings(scene.pipeline, scene.state, scene.observed)
    step = Step(
        name=StepName.CANARY,
        percent=wanted.percent,
        start_time=scene.now,
        index=index,
        start_units=found.candidate.units if found else None,
    )
    trial = scene.trial
    if trial.live_since is None:
        trial = trial.model_copy(update={"live_since": scene.now})
    return scene.with_(step=step, candidate=trial, traffic=scene.split(wanted.percent))


def advance(scene: Scene) -> LearningPipelineStatus:
    """Judge the candidate, and let the step pass, end or go on."""
    steps = scene.pipeline.spec.rollout.steps
    index = min(scene.current.index or 0, len(steps) - 1)
    wanted = steps[index]
    found = judge.findings(scene.pipeline, scene.state, scene.observed)
    if found:
        shown = judge.judgement(scene.pipeline.spec.rollout.judge, found)
        scene = scene.at(scene.with_(judgement=shown))
        detection = judge.detection(scene.pipeline, scene.state, found, scene.now)
        if detection:
            told = scene.at(scene.with_(detection=detection))
            return leave(told, Verdict.ROLLED_BACK, "Detected", f"{detection.id}: {detection.evidence}")
    if wanted.percent != scene.current.percent:
        # The specification changed: the step begins anew with its new share.
        return enter(scene, index)
    scene = _counted(scene, found)
    last = index == len(steps) - 1
    if _passes(scene, wanted, found, last=last):
        return _promote(scene, found) if last else enter(scene, index + 1)
    if (
        scene.age >= wanted.max_seconds
        and scene.pipeline.spec.rollout.on_inconclusive is Inconclusive.ROLLBACK
    ):
        return leave(scene, Verdict.ROLLED_BACK, "Inconclusive", _missing(scene, wanted, found))
    return scene.state


def _counted(scene: Scene, found: Findings | None) -> Scene:
    """The scene with the units counted at the step's begin, where they were not known then."""
    step = scene.current
    if step.start_units is not None or found is None:
        return scene
    # A new arm counts from zero: what a first step has seen by now came during it.
    units = found.candidate.units if step.index else 0
    return scene.at(scene.with_(step=step.model_copy(update={"start_units": units})))


def _passes(scene: Scene, wanted: RolloutStep, found: Findings | None, *, last: bool) -> bool:
    if found is None or scene.age < wanted.min_seconds:
        return False
    if found.candidate.units - (scene.current.start_units or 0) < wanted.min_units:
        return False
    if not traffic.acknowledged(scene.pool, scene.state.traffic):
        return False
    if not last or found.shown_non_inferior:
        return True
    by_time = scene.pipeline.spec.rollout.judge.promotion is Promotion.NO_DETECTION
    return by_time and scene.age >= wanted.max_seconds


def _promote(scene: Scene, found: Findings | None) -> LearningPipelineStatus:
    if not scene.observed.verified(scene.release):
        return scene.state
    shown = found is not None and found.shown_non_inferior
    _, arm = scene.arms
    step = Step(
        name=StepName.PROMOTING,
        percent=100,
        start_time=scene.now,
        reason="NonInferior" if shown else "NotDetected",
        message="feedback shows that it is worse by less than the margin, or better"
        if shown
        else "feedback showed no loss in the time of the last step",
    )
    return scene.with_(step=step, traffic=traffic.whole(scene.state.traffic, arm))


def _missing(scene: Scene, wanted: RolloutStep, found: Findings | None) -> str:
    """What an inconclusive step lacked."""
    if found is None:
        return f"the gateways gave no counts; the step at {wanted.percent} % could not be judged"
    units = found.candidate.units - (scene.current.start_units or 0)
    if units < wanted.min_units:
        return (
            f"{units} of {wanted.min_units} sessions with feedback came in {wanted.max_seconds} s at "
            f"{wanted.percent} %"
        )
    if not traffic.acknowledged(scene.pool, scene.state.traffic):
        return "the gateways did not acknowledge the traffic"
    return (
        f"feedback did not show in {wanted.max_seconds} s that the candidate is worse by less than the margin"
    )
