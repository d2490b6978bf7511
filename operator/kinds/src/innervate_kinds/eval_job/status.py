"""Tells how far an eval job is, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import conditions
from innervate_kinds.eval_job import outcome, waiting
from innervate_kinds.eval_job.model import EvalJobStatus, Progress, Verdict
from innervate_kinds.eval_job.names import REPORT_FILE, RUNNER, Names
from innervate_kinds.eval_job.plan import finished
from innervate_kinds.eval_job.reasons import Reason
from innervate_kinds.eval_job.template import GateTest, Underpowered
from innervate_kinds.parts import trouble
from innervate_kinds.parts.pods import Workload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Failure, Plan
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.eval_job.model import EvalJob
    from innervate_kinds.eval_job.outcome import Result
    from innervate_kinds.eval_job.state import Observed
    from innervate_kinds.parts.jobs import JobState

_PROGRESS_SECONDS = 60.0
"""Least time between two accounts of progress in the status."""
PASSED = "Passed"
"""Condition that says whether the gate holds; absent without a gate and before the end."""
_STALLING = {
    Reason.POOL_NOT_FOUND,
    Reason.RELEASE_NOT_FOUND,
    Reason.DATASET_NOT_FOUND,
    Reason.COMPUTE_POOL_NOT_FOUND,
    Reason.COMPUTE_POOL_NOT_ALLOWED,
    Reason.NOT_OWNED,
    Reason.CHILD_REFUSED,
}
"""Reasons that pass only by somebody's action."""


def status(
    job: EvalJob, observed: Observed, _plan: Plan, failures: Sequence[Failure], now: datetime
) -> EvalJobStatus:
    """Keep what was told at the end; before it, tell what is on its way."""
    if finished(job) and job.status is not None:
        return job.status.model_copy(update={"observed_generation": job.metadata.generation, "trace": None})
    found = outcome.result(observed.job) if observed.job else None
    if observed.job and found:
        return _completed(job, observed.job, found, now)
    if observed.job and observed.job.failed and not outcome.may_be_late(observed.job, now):
        return _failed(job, observed.job, now)
    return _under_way(job, observed, failures, now)


def _completed(job: EvalJob, ran: JobState, found: Result, now: datetime) -> EvalJobStatus:
    told = f"{found.counts.answered} of {found.counts.samples} questions were answered and scored"
    return EvalJobStatus(
        observed_generation=job.metadata.generation,
        summary=found.summary,
        comparison=found.comparison,
        verdict=found.verdict,
        counts=found.counts,
        report=f"pvc://{Names.of(job.metadata.name).data}/{REPORT_FILE}",
        end_time=(ran.ended or now).replace(microsecond=0),
        conditions=(
            conditions.true(conditions.ACCEPTED, Reason.VALID),
            conditions.true(conditions.RESOLVED_REFS, Reason.RESOLVED),
            conditions.true(conditions.SUCCEEDED, Reason.COMPLETED, told),
            *_passed(job, found),
        ),
    )


def _passed(job: EvalJob, found: Result) -> tuple[Condition, ...]:
    gate, comparison = job.spec.gate, found.comparison
    if gate is None or found.verdict is None:
        return ()
    make = conditions.unknown if gate.on_underpowered is Underpowered.HOLD else conditions.false
    if comparison is None:
        return (make(PASSED, Reason.UNDERPOWERED, "no question has a score of target and baseline"),)
    limit = f"{'-' if gate.test is GateTest.NON_INFERIOR else ''}{gate.margin}"
    between = (
        f"the difference of {gate.metric} is {comparison.difference}, between {comparison.low} and "
        f"{comparison.high}; the limit is {limit}"
    )
    match found.verdict:
        case Verdict.PASSED:
            return (conditions.true(PASSED, Reason.PASSED, between),)
        case Verdict.FAILED:
            return (conditions.false(PASSED, Reason.FAILED, between),)
    if comparison.n < gate.min_samples:
        message = f"{between}; it stands on {comparison.n} units, {gate.min_samples} are wanted at least"
    else:
        message = (
            f"{between}; {comparison.n} units can tell a difference {comparison.detectable} away from the "
            "limit: more questions would tell smaller ones"
        )
    return (make(PASSED, Reason.UNDERPOWERED, message),)


def _failed(job: EvalJob, ran: JobState, now: datetime) -> EvalJobStatus:
    reason, message = _words(ran)
    if ran.failed == Reason.DEADLINE_EXCEEDED:
        reason = Reason.DEADLINE_EXCEEDED
        message = (
            f"the job took longer than spec.run.deadlineSeconds, {job.spec.run.deadline_seconds} s"
            f"{f'; its last words were: {message}' if message else ''}"
        )
    message = message or f"the Job failed: {ran.failed_message or ran.failed}"
    return EvalJobStatus(
        observed_generation=job.metadata.generation,
        end_time=(ran.ended or now).replace(microsecond=0),
        conditions=(
            conditions.true(conditions.ACCEPTED, Reason.VALID),
            conditions.true(conditions.RESOLVED_REFS, Reason.RESOLVED),
            conditions.false(conditions.SUCCEEDED, reason, message),
            conditions.true(conditions.STALLED, reason, message),
        ),
    )


def _words(ran: JobState) -> tuple[Reason, str]:
    """What the last runner that spoke said, in words of ours."""
    said = outcome.trouble(ran)
    if said is None:
        return Reason.CRASHING, ""
    known = {reason.value for reason in Reason}
    return (Reason(said.reason) if said.reason in known else Reason.CRASHING), said.message


def _under_way(job: EvalJob, observed: Observed, failures: Sequence[Failure], now: datetime) -> EvalJobStatus:
    unresolved = waiting.unresolved(job, observed)
    resolved = (
        conditions.false(conditions.RESOLVED_REFS, unresolved.reason, unresolved.message)
        if unresolved
        else conditions.true(conditions.RESOLVED_REFS, Reason.RESOLVED)
    )
    waits = unresolved if observed.job is None else None
    if observed.job is None and waits is None:
        waits = waiting.unready(job, observed)
    reason, message = (
        _refused(failures)
        or (waits and (waits.reason, waits.message))
        or _trouble(job, observed, now)
        or (Reason.RUNNING, f"asking; see {_log(job)}")
    )
    moves = conditions.STALLED if reason in _STALLING else conditions.RECONCILING
    return EvalJobStatus(
        observed_generation=job.metadata.generation,
        progress=_progress(job, observed, now),
        conditions=(
            conditions.true(conditions.ACCEPTED, Reason.VALID),
            resolved,
            conditions.unknown(conditions.SUCCEEDED, reason, message),
            conditions.true(moves, reason, message),
        ),
    )


def _progress(job: EvalJob, observed: Observed, now: datetime) -> Progress | None:
    """How far the runner is: as told before, where that is not a minute old or nothing was told since."""
    old = job.status.progress if job.status else None
    told = observed.progress.value if observed.progress else None
    if told is None or (old and (now - old.time).total_seconds() < _PROGRESS_SECONDS):
        return old
    found = Progress(**told, time=now.replace(microsecond=0))
    return old if old and old == found.model_copy(update={"time": old.time}) else found


def _log(job: EvalJob) -> str:
    name = Names.of(job.metadata.name).job
    return f"`kubectl logs -n {job.metadata.namespace} job/{name} -c {RUNNER}`"


def _refused(failures: Sequence[Failure]) -> tuple[Reason, str] | None:
    for failure in failures:
        if failure.permanent and failure.reason == Reason.NOT_OWNED:
            return Reason.NOT_OWNED, f"{failure.reference} belongs to somebody else: {failure.message}"
        if failure.permanent:
            return Reason.CHILD_REFUSED, f"{failure.reference} is refused: {failure.message}"
    return None


def _trouble(job: EvalJob, observed: Observed, now: datetime) -> tuple[Reason, str] | None:
    """What keeps the running Job from its end; None where nothing is known to."""
    ran = observed.job
    if ran is None or ran.finished:
        return None
    last = ran.last
    if last and last.phase not in {"Succeeded", "Failed"}:
        component = trouble.Component(
            owner=job.metadata, name=RUNNER, memory_field=lambda _name: "spec.run.resources.limits.memory"
        )
        running = Workload(current=True, wanted=1, updated=1, available=0, pods=(last,))
        problem = trouble.problem(component, running, now)
        if problem:
            known = {reason.value for reason in Reason}
            reason = Reason(problem.reason) if problem.reason in known else Reason.CRASHING
            return reason, problem.message
    if ran.attempts_failed and outcome.trouble(ran):
        reason, message = _words(ran)
        return reason, f"{message}; it is tried again"
    return None
