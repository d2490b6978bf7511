"""How candidates end, and what is remembered of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.learning_pipeline import candidates, traffic
from innervate_kinds.learning_pipeline.record import Entry, Step, StepName, Trial, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus
    from innervate_kinds.learning_pipeline.scene import Scene

_LONGEST = 1024
_ROUTED = {
    *(StepName.WARMING, StepName.GATING, StepName.AWAITING_APPROVAL),
    *(StepName.CANARY, StepName.PROMOTING),
}
"""Steps at which the candidate has an arm."""


def leave(scene: Scene, verdict: Verdict, reason: str, message: str) -> LearningPipelineStatus:
    """Give the candidate up: at once where it has no arm, else by way of a rollback."""
    if scene.current.name not in _ROUTED:
        return finish(scene, verdict, reason, message)
    stable, _ = scene.arms
    step = Step(
        name=StepName.ROLLING_BACK,
        start_time=scene.now,
        verdict=verdict,
        reason=reason,
        message=message[:_LONGEST],
    )
    return scene.with_(step=step, traffic=traffic.whole(scene.state.traffic, stable))


def finish(scene: Scene, verdict: Verdict, reason: str, message: str) -> LearningPipelineStatus:
    """Close the candidate's turn; what has the stable arm now is the stable release."""
    state, trial = scene.state, scene.trial
    arm = traffic.stable(state.traffic)
    stable = arm.release if arm else state.stable
    live = verdict is Verdict.PROMOTED
    entry = Entry(
        rollout=state.rollout,
        candidate=trial.name,
        release=trial.release,
        from_=trial.live_since,
        to=None if live or trial.live_since is None else scene.now,
        decision_time=scene.now,
        verdict=verdict,
        reason=reason,
        message=message[:_LONGEST] or None,
    )
    # A promotion that is taken back is the same rollout, told anew.
    past = tuple(each for each in state.history if each.rollout != state.rollout or not each.rollout)
    past = _told(past, None if live else stable, scene.now)
    keep = scene.pipeline.spec.history.keep
    return scene.with_(
        stable=stable,
        candidate=None,
        step=None,
        completed=candidates.completed(scene.pipeline, state, candidates.key(trial.name, trial.digest)),
        history=_newest((entry, *past), keep),
    )


def revert(scene: Scene) -> LearningPipelineStatus:
    """Take a promotion back: the release before is still warm."""
    state = scene.state
    previous = state.previous
    if previous is None:
        raise ValueError("no release before is kept warm")
    last = next((each for each in state.history if each.rollout == state.rollout), None)
    trial = Trial(
        name=(last.candidate if last else None) or state.stable or "",
        digest="",
        release=state.stable,
        live_since=last.from_ if last else None,
    )
    step = Step(
        name=StepName.ROLLING_BACK,
        start_time=scene.now,
        verdict=Verdict.ROLLED_BACK,
        reason="Commanded",
        message="its promotion was taken back",
    )
    return scene.with_(
        candidate=trial, step=step, previous=None, traffic=traffic.whole(state.traffic, previous.arm)
    )


def _told(past: tuple[Entry, ...], live: str | None, now: datetime) -> tuple[Entry, ...]:
    """Earlier entries: the newest one of the live release is open, every other one is closed."""
    told = []
    for entry in past:
        if entry.verdict not in {Verdict.PROMOTED, Verdict.INITIAL}:
            told.append(entry)
        elif entry.release == live:
            told.append(entry.model_copy(update={"to": None}))
            live = None
        else:
            told.append(entry if entry.to else entry.model_copy(update={"to": now}))
    return tuple(told)


def _newest(entries: tuple[Entry, ...], keep: int) -> tuple[Entry, ...]:
    """The newest entries, and whatever is still live."""
    live = [entry for entry in entries[keep:] if entry.from_ and entry.to is None]
    return (*entries[:keep], *live[:1])
