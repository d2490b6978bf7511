"""Where each seed is: what the status says of those at their end, and what is seen of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.rl_run import result
from innervate_kinds.rl_run.names import JOB_SET
from innervate_kinds.rl_run.reasons import Reason
from innervate_kinds.rl_run.record import Rejected, SeedState, SeedStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.parts.jobs import JobState
    from innervate_kinds.rl_run.model import Gate, RLRun
    from innervate_kinds.rl_run.state import Observed, SeedJob

ENDED = {SeedState.SUCCEEDED, SeedState.FAILED}
VOID = f"{Reason.NO_VALID_ROLLOUTS}: every episode was voided"
"""Message of a seed that has learned from nothing."""


def seeds(run: RLRun, observed: Observed, now: datetime) -> tuple[SeedStatus, ...]:
    """Every seed of the run, in order.

    What a status says of a seed's end stays: its Job may vanish.
    """
    told = {each.seed: each for each in run.status.seeds} if run.status else {}
    return tuple(
        _seed(run, number, told.get(number), observed.seeds.get(number), now)
        for number in range(run.spec.seeds)
    )


def stopped(found: Sequence[SeedStatus]) -> tuple[SeedStatus, ...]:
    """Seeds of a run that ended."""
    return tuple(
        each if each.state in ENDED else each.model_copy(update={"state": SeedState.STOPPED, "message": None})
        for each in found
    )


def decimal(value: float | None) -> str | None:
    """A number as results are written."""
    if value is None:
        return None
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def rate(observed: Observed, found: Sequence[SeedStatus]) -> str | None:
    """Environment steps per second of the seeds that train."""
    training = [each.seed for each in found if each.state is SeedState.RUNNING]
    said = [observed.seeds[number].progress for number in training if number in observed.seeds]
    rates = [each.rate for each in said if each and each.rate is not None]
    return f"{sum(rates):.1f}" if rates else None


def best_reward(found: Sequence[SeedStatus]) -> str | None:
    """Highest mean reward of a seed."""
    rewards = [each.reward for each in found if each.reward is not None]
    return max(rewards, key=float) if rewards else None


def rejected(found: Sequence[SeedStatus]) -> Rejected:
    """Episodes of all seeds that were voided."""
    counted = [each.rejected for each in found if each.rejected]
    return Rejected(
        infrastructure=sum(each.infrastructure for each in counted),
        verifier=sum(each.verifier for each in counted),
    )


def _seed(run: RLRun, number: int, told: SeedStatus | None, job: SeedJob | None, now: datetime) -> SeedStatus:
    if told and told.state in ENDED:
        return told
    before = told or SeedStatus(seed=number, state=SeedState.PENDING)
    waits = before.model_copy(update={"state": SeedState.PENDING, "message": None})
    if job is None:
        return waits
    if job.state.finished:
        return _finished(run, before, job.state, now)
    if _overran(job, now):
        return before.model_copy(update={"state": SeedState.FAILED, "message": result.TOO_LONG})
    runs = not job.suspended and any(pod.phase == "Running" for pod in job.state.pods)
    return _under_way(before, job) if runs else waits


def _overran(job: SeedJob, now: datetime) -> bool:
    """Whether a JobSet used up its time: Kubernetes counts that of each of its attempts only."""
    if job.kind != JOB_SET or job.suspended or job.since is None or job.deadline_seconds is None:
        return False
    return (now - job.since).total_seconds() > job.deadline_seconds


def _finished(run: RLRun, before: SeedStatus, job: JobState, now: datetime) -> SeedStatus:
    said = result.words(job)
    if said is None and (job.succeeded or result.may_be_late(job, now)):
        return before
    if job.succeeded and said and said.result:
        return _succeeded(run, before.seed, said, said.result)
    message = said.error if job.succeeded and said else result.why(job)
    return before.model_copy(update={"state": SeedState.FAILED, "message": message})


def _under_way(before: SeedStatus, job: SeedJob) -> SeedStatus:
    said = job.progress
    if said is None:
        return before.model_copy(update={"state": SeedState.RUNNING, "message": None})
    return before.model_copy(
        update={
            "state": SeedState.RUNNING,
            # A trainer that starts again begins its count at its last checkpoint.
            "steps": max(said.steps, before.steps),
            "reward": decimal(said.reward) or before.reward,
            "held_out": decimal(said.held_out) or before.held_out,
            "rejected": Rejected(infrastructure=said.infrastructure, verifier=said.verifier),
            "message": None,
        }
    )


def _succeeded(run: RLRun, number: int, said: result.Words, found: result.Result) -> SeedStatus:
    message = _missing(run, said, found)
    return SeedStatus(
        seed=number,
        state=SeedState.FAILED if message else SeedState.SUCCEEDED,
        steps=found.steps,
        reward=decimal(found.reward),
        held_out=decimal(found.held_out),
        gap=decimal(found.gap),
        rejected=Rejected(infrastructure=found.rollouts.infrastructure, verifier=found.rollouts.verifier),
        release=said.release,
        parameters=found.parameters,
        message=message or None,
    )


def _missing(run: RLRun, said: result.Words, found: result.Result) -> str:
    """What a result lacks without which the run cannot succeed; empty where it lacks nothing."""
    if not found.rollouts.valid:
        return VOID
    unjudged = _unjudged(run.spec.gate, found) if run.spec.gate else ""
    if not unjudged and run.spec.publish and said.release is None:
        return "its trainer made no release, which spec.publish needs"
    return unjudged


def _unjudged(gate: Gate, found: result.Result) -> str:
    """What the gate looks at and a result lacks; empty where it lacks nothing."""
    if found.episodes is None:
        return "its result does not say how many `episodes` its reward is the mean of; the gate wants to know"
    if found.episodes < gate.episodes:
        return f"it was evaluated by {found.episodes} episodes, and spec.gate.episodes wants {gate.episodes}"
    if gate.metric == "HeldOut" and found.held_out is None:
        return "its result holds no held-out reward, which the gate looks at; give the Environment one"
    if gate.max_gap is not None and found.gap is None:
        return "its result holds no gap to a held-out reward, which spec.gate.maxGap limits"
    return ""
