"""Where a pipeline goes from here: its status and what is observed in, its next status out.

One step at a time. What is decided here is written, and only then acted on, by a plan that reads nothing
but the status; so an interruption at any point leaves either the old decision or the new one, and both lead
on from where they stand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.learning_pipeline import canary, candidates, commands, gating, traffic, training
from innervate_kinds.learning_pipeline.ending import finish, leave, revert
from innervate_kinds.learning_pipeline.record import (
    REMEMBERED_COMMANDS,
    Action,
    CommandResult,
    Entry,
    LastCommand,
    LearningPipelineStatus,
    Previous,
    Step,
    StepName,
    Trial,
    Verdict,
)
from innervate_kinds.learning_pipeline.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from innervate_kinds.learning_pipeline.commands import Command
    from innervate_kinds.learning_pipeline.model import LearningPipeline
    from innervate_kinds.learning_pipeline.state import Observed

State = LearningPipelineStatus


def advance(pipeline: LearningPipeline, observed: Observed, now: datetime) -> LearningPipelineStatus:
    """The next status, without conditions; the same one where nothing is to be decided.

    Without a pool that serves releases, or beside an older pipeline on the same pool, it stays where it is.
    """
    state = pipeline.status or State()
    if observed.pool is None or not observed.pool.release or observed.elder:
        return state
    scene = Scene(pipeline, observed, now.replace(microsecond=0), state)
    if state.stable is None:
        return _adopt(scene)
    return _commanded(scene) or _withdrawn(scene) or _unverified(scene) or _step(scene)


def _step(scene: Scene) -> State:
    step = scene.state.step
    return _STEPS[step.name](scene) if step else _rest(scene)


def _adopt(scene: Scene) -> State:
    """Take what is live as stable; what another pipeline left beside it gets no traffic."""
    pool = scene.pool
    live = traffic.stable(pool.traffic)
    release = live.release if live else pool.release
    entry = Entry(
        rollout=0,
        release=release,
        from_=scene.now,
        decision_time=scene.now,
        verdict=Verdict.INITIAL,
        reason="Found",
        message="live when the pipeline came",
    )
    return scene.with_(stable=release, traffic=traffic.alone(pool.traffic), history=(entry,))


def _rest(scene: Scene) -> State:
    """Begin with the next candidate, or let the release before go."""
    state = scene.state
    candidate = candidates.following(scene.pipeline, state)
    if candidate is None:
        previous = state.previous
        if previous and scene.now >= previous.until_time:
            return scene.with_(previous=None, traffic=traffic.alone(state.traffic))
        return state
    trial = Trial(name=candidate.name, digest=candidates.digest(candidate))
    begun = scene.with_(
        rollout=state.rollout + 1,
        candidate=trial,
        previous=None,
        traffic=traffic.alone(state.traffic),
        gates=(),
        judgement=None,
    )
    if candidate.train is None and candidate.release_ref is not None:
        trial = trial.model_copy(update={"release": candidate.release_ref.name})
        if trial.release == state.stable:
            scene = scene.at(begun.model_copy(update={"candidate": trial}))
            return finish(scene, Verdict.SKIPPED, "AlreadyStable", "it is the stable release already")
        name = StepName.RELEASING
    else:
        base = candidate.train.base if candidate.train else None
        trial = trial.model_copy(update={"base": base.release_ref.name if base else state.stable})
        name = StepName.TRAINING
    step = Step(name=name, start_time=scene.now)
    return begun.model_copy(update={"candidate": trial, "step": step})


def _releasing(scene: Scene) -> State:
    found = scene.observed.releases.get(scene.release)
    if found is not None and found.refused:
        return finish(scene, Verdict.REFUSED, "ReleaseNotVerified", found.message)
    if found is None or not found.verified:
        return scene.state
    return scene.step(StepName.WARMING, traffic=scene.split(0))


def _warming(scene: Scene) -> State:
    state = scene.state
    _, arm = scene.arms
    answer = scene.observed.routes.value if scene.observed.routes else None
    if traffic.acknowledged(scene.pool, state.traffic) and answer and answer["ready"].get(arm, 0) > 0:
        if scene.pipeline.spec.gates:
            return scene.step(StepName.GATING)
        return gating.passed(scene)
    if scene.age >= scene.pipeline.spec.rollout.ready_seconds:
        waits = answer["waits_for"] if answer else ""
        message = f"its engine was not ready in time{f': {waits}' if waits else ''}"
        return leave(scene, Verdict.FAILED, "EngineNotReady", message)
    return state


def _promoting(scene: Scene) -> State:
    """Let the promotion stand once every gateway serves it."""
    state = scene.state
    if not traffic.acknowledged(scene.pool, state.traffic):
        return state
    before = next(arm for arm in state.traffic if not arm.weight)
    kept = scene.later(scene.pipeline.spec.rollout.keep_warm_seconds)
    previous = Previous(release=before.release, arm=before.name, until_time=kept)
    scene = scene.at(state.model_copy(update={"previous": previous}))
    step = scene.current
    return finish(scene, Verdict.PROMOTED, step.reason or "Passed", step.message or "")


def _rolling_back(scene: Scene) -> State:
    """Let the rollback stand once every gateway serves the stable release alone."""
    state, step = scene.state, scene.current
    if not traffic.acknowledged(scene.pool, state.traffic):
        return state
    scene = scene.at(state.model_copy(update={"traffic": traffic.alone(state.traffic)}))
    return finish(scene, step.verdict or Verdict.ROLLED_BACK, step.reason or "", step.message or "")


def _commanded(scene: Scene) -> State | None:
    """Handle a command that was not handled yet."""
    command = commands.read(scene.pipeline.metadata.annotations)
    handled, last = scene.state.handled_commands, scene.state.last_command
    if command is None or command.id in handled or (last is not None and last.id == command.id):
        return None
    after, message = _obey(scene, command)
    told = LastCommand(
        id=command.id,
        action=command.action or "",
        result=CommandResult.REFUSED if after is None else CommandResult.DONE,
        message=message,
        time=scene.now,
    )
    # Whoever applies an old manifest again, or puts a backup back, must not repeat what was told then.
    handled = (*handled, command.id)[-REMEMBERED_COMMANDS:]
    return (after or scene.state).model_copy(update={"last_command": told, "handled_commands": handled})


def _obey(scene: Scene, command: Command) -> tuple[State | None, str]:
    """The status after a command, None where it is refused, and words for either."""
    trial = scene.state.candidate
    under_way = trial.name if trial else "none"
    if command.wrong:
        return None, command.wrong
    if command.candidate and command.candidate != under_way:
        return None, f"candidate {command.candidate!r} is not under way: {under_way} is"
    if command.action is Action.APPROVE:
        return _approve(scene)
    if scene.state.step is None:
        return _take_back(scene, command)
    if scene.current.name is StepName.ROLLING_BACK:
        return None, f"candidate {under_way!r} is being rolled back already"
    verdict = Verdict.ROLLED_BACK if command.action is Action.ROLLBACK else Verdict.ABORTED
    after = leave(scene, verdict, "Commanded", f"command {command.id}")
    return after, f"candidate {under_way!r} is called off"


def _approve(scene: Scene) -> tuple[State | None, str]:
    step = scene.state.step
    if step is None or step.name is not StepName.AWAITING_APPROVAL:
        return None, "nothing waits for approval"
    if not scene.observed.verified(scene.release):
        return None, f"ModelRelease {scene.release!r} is not verified at this moment"
    return canary.enter(scene, 0), f"candidate {scene.trial.name!r} may take traffic"


def _take_back(scene: Scene, command: Command) -> tuple[State | None, str]:
    previous = scene.state.previous
    if command.action is not Action.ROLLBACK or previous is None:
        return None, "no candidate is under way, and no release before is kept warm"
    if not scene.observed.verified(previous.release):
        return None, f"ModelRelease {previous.release!r} is not verified at this moment"
    return revert(scene), f"back to release {previous.release!r}"


def _withdrawn(scene: Scene) -> State | None:
    """Call a candidate off that the specification does not name any more, or names differently."""
    trial, step = scene.state.candidate, scene.state.step
    if trial is None or step is None or step.name in {StepName.ROLLING_BACK, StepName.PROMOTING}:
        return None
    if candidates.declared(scene.pipeline, trial):
        return None
    return leave(scene, Verdict.ABORTED, "Withdrawn", "the specification does not name it any more")


def _unverified(scene: Scene) -> State | None:
    """Take a candidate back whose release is gone, or is found not to be what was signed."""
    step = scene.state.step
    guarded = {
        *(StepName.WARMING, StepName.GATING, StepName.AWAITING_APPROVAL),
        *(StepName.CANARY, StepName.PROMOTING),
    }
    if step is None or step.name not in guarded:
        return None
    found = scene.observed.releases.get(scene.release)
    if found is not None and found.verified is not False:
        return None
    message = found.message if found else f"ModelRelease {scene.release!r} is gone"
    return leave(scene, Verdict.FAILED, "ReleaseNotVerified", message)


_STEPS: dict[StepName, Callable[[Scene], State]] = {
    StepName.TRAINING: training.advance,
    StepName.RELEASING: _releasing,
    StepName.WARMING: _warming,
    StepName.GATING: gating.advance,
    StepName.AWAITING_APPROVAL: lambda scene: scene.state,
    StepName.CANARY: canary.advance,
    StepName.PROMOTING: _promoting,
    StepName.ROLLING_BACK: _rolling_back,
}
