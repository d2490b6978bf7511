"""Tells how far a run is, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.model_release.model import is_verified
from innervate_kinds.parts import trouble
from innervate_kinds.parts.pods import Workload
from innervate_kinds.parts.trainers import TRAINER
from innervate_kinds.rl_run import ending, names, result, seeds, waiting
from innervate_kinds.rl_run.plan import finished
from innervate_kinds.rl_run.reasons import Reason
from innervate_kinds.rl_run.record import RLRunStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.rl_run.ending import End, View
    from innervate_kinds.rl_run.model import RLRun
    from innervate_kinds.rl_run.state import Observed

SUSPENDED = "Suspended"
"""Condition that says whether the run is held."""
_STALLING = {
    Reason.ENVIRONMENT_NOT_FOUND,
    Reason.ENVIRONMENT_UNFIT,
    Reason.RELEASE_NOT_FOUND,
    Reason.COMPUTE_POOL_NOT_FOUND,
    Reason.COMPUTE_POOL_NOT_ALLOWED,
    Reason.BUDGET_TOO_SMALL,
    Reason.NOT_OWNED,
    Reason.CHILD_REFUSED,
}
"""Reasons that pass only by somebody's action."""


def status(
    run: RLRun, observed: Observed, _plan: Plan, failures: Sequence[Failure], now: datetime
) -> RLRunStatus:
    """Keep what was told at the end; before it, tell where the seeds are."""
    if finished(run) and run.status is not None:
        return run.status.model_copy(update={"observed_generation": run.metadata.generation, "trace": None})
    seen = ending.view(run, observed, failures, now)
    end, best, published = ending.end(seen), seen.best, seen.published
    return RLRunStatus(
        observed_generation=run.metadata.generation,
        steps=sum(each.steps for each in seen.seeds),
        rate=None if end else seeds.rate(observed, seen.seeds),
        best_reward=seeds.best_reward(seen.seeds),
        seeds=seeds.stopped(seen.seeds) if end else seen.seeds,
        rejected=seeds.rejected(seen.seeds),
        gate=seen.gate,
        best_seed=best.seed if best else None,
        release=published.metadata.name if published and is_verified(published) else None,
        start_time=(run.status.start_time if run.status else None) or _started(observed),
        end_time=now.replace(microsecond=0) if end else None,
        conditions=_ended(end) if end else _under_way(seen),
    )


def _ended(end: End) -> tuple[Condition, ...]:
    known = (
        conditions.true(conditions.ACCEPTED, Reason.VALID),
        conditions.true(conditions.RESOLVED_REFS, Reason.RESOLVED),
        conditions.false(SUSPENDED, Reason.ACTIVE, "the run is at its end"),
    )
    if end.succeeded:
        return (*known, conditions.true(conditions.SUCCEEDED, end.reason, end.message))
    return (
        *known,
        conditions.false(conditions.SUCCEEDED, end.reason, end.message),
        conditions.true(conditions.STALLED, end.reason, end.message),
    )


def _under_way(seen: View) -> tuple[Condition, ...]:
    run, observed = seen.run, seen.observed
    unresolved = waiting.unresolved(run, observed)
    at_work = seen.gate or any(not job.state.finished for job in observed.seeds.values())
    waits = None if at_work else unresolved
    held = _held(run, observed)
    reason, message = (
        ending.refused(seen.failures)
        or (waits and (waits.reason, waits.message))
        or (seen.gate and (Reason.PUBLISHING, "the gate is passed; the release is signed and verified"))
        or (held and (held.reason, held.message))
        or _trouble(run, observed, seen.now)
        or (Reason.RUNNING, _running(seen))
    )
    progress = conditions.STALLED if reason in _STALLING else conditions.RECONCILING
    return (
        conditions.true(conditions.ACCEPTED, Reason.VALID),
        conditions.false(conditions.RESOLVED_REFS, unresolved.reason, unresolved.message)
        if unresolved
        else conditions.true(conditions.RESOLVED_REFS, Reason.RESOLVED),
        held or conditions.false(SUSPENDED, Reason.ACTIVE, "nothing holds the run"),
        conditions.unknown(conditions.SUCCEEDED, reason, message),
        conditions.true(progress, reason, message),
    )


def _held(run: RLRun, observed: Observed) -> Condition | None:
    """What holds the run; None where nothing does."""
    if run.spec.suspend:
        return conditions.true(
            SUSPENDED, Reason.SUSPENDED, "spec.suspend holds the run; set it to false to go on"
        )
    open_ = [job for job in observed.seeds.values() if not job.state.finished]
    if run.spec.queue and open_ and all(job.suspended for job in open_):
        queue = run.spec.queue.kueue_local_queue
        return conditions.true(SUSPENDED, Reason.QUEUED, f"LocalQueue {queue!r} holds every Job of the run")
    return None


def _running(seen: View) -> str:
    run, found = seen.run, seen.seeds
    ended = sum(each.state in seeds.ENDED for each in found)
    command = f"`innervate rl watch -n {run.metadata.namespace} {run.metadata.name}`"
    return f"{ended} of {len(found)} seeds are at their end; {command} shows the curves"


def _started(observed: Observed) -> datetime | None:
    starts = [job.state.started for job in observed.seeds.values() if job.state.started]
    return min(starts, default=None)


def _trouble(run: RLRun, observed: Observed, now: datetime) -> tuple[Reason, str] | None:
    """What keeps a seed's pods from training; None where nothing is known to."""
    engine = "external" if run.spec.engine.external else "builtin"
    known = {reason.value for reason in Reason}
    for number, job in sorted(observed.seeds.items()):
        last = job.state.last
        if job.state.finished or job.suspended or last is None:
            continue
        if last.phase == "Failed":
            return Reason.CRASHING, f"seed {number}: {result.why(job.state)}; it is tried again"
        component = trouble.Component(
            owner=run.metadata,
            name=names.component(number),
            memory_field=lambda container: (
                f"spec.engine.{engine}.resources.limits.memory"
                if container == TRAINER
                else "the node's memory"
            ),
        )
        workload = Workload(current=True, wanted=1, updated=1, available=0, pods=(last,))
        problem = trouble.problem(component, workload, now)
        if problem:
            reason = Reason(problem.reason) if problem.reason in known else Reason.CRASHING
            return reason, f"seed {number}: {problem.message}"
    return None
