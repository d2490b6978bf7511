"""What trainers say: on the way, and as their last words."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field, ValidationError

from innervate_kinds.api.resource import Model
from innervate_kinds.parts.trainers import SIDECAR, TRAINER
from innervate_kinds.rl_run.state import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from innervate_kinds.parts.jobs import JobState

LATE = timedelta(seconds=30)
"""So long after a Job's end its pod's last words may still be on their way."""
TOO_LONG = "it took longer than its budget allows"
"""Message of a seed that used up its time."""
_LONGEST = 900
_Number = Annotated[float, Field(ge=-1e12, le=1e12)]
_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Rollouts(Model):
    """Episodes by what became of them."""

    valid: _Count
    infrastructure: _Count = 0
    verifier: _Count = 0


class Result(Model):
    """Figures of a trained seed."""

    steps: _Count
    episodes: _Count | None = None
    """Fresh episodes that the rewards are means of."""
    reward: _Number
    held_out: _Number | None = None
    gap: _Number | None = None
    rollouts: Rollouts
    parameters: Annotated[str, Field(max_length=80)] | None = None


class Words(NamedTuple):
    """The last words of a seed's trainer."""

    result: Result | None
    release: str | None
    error: str
    """Why there is no result, or empty."""


class _Said(Model):
    final: bool = False
    release: _Digest | None = None
    result: Result | None = None
    error: str = ""


class _Metrics(Model):
    reward: _Number | None = None
    held_out: _Number | None = None
    steps_per_second: Annotated[float, Field(ge=0, le=1e12)] | None = None
    infrastructure: Annotated[float, Field(ge=0, lt=2**53)] = 0
    verifier: Annotated[float, Field(ge=0, lt=2**53)] = 0


class _Page(Model):
    step: _Count = 0
    metrics: _Metrics = Field(default_factory=_Metrics)


def decode(page: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read a page of progress.

    Raises
    ------
    ValueError
        It is not as agreed.
    """
    found = _Page.model_validate(page)
    metrics = found.metrics
    return {
        "steps": found.step,
        "rate": metrics.steps_per_second,
        "reward": metrics.reward,
        "held_out": metrics.held_out,
        "infrastructure": int(metrics.infrastructure),
        "verifier": int(metrics.verifier),
    }


def progress(page: Mapping[str, Any]) -> Progress:
    """Progress of a page that was read."""
    return Progress(**page)


def words(job: JobState) -> Words | None:
    """Last words of the newest attempt; None where there are none."""
    said = job.words(SIDECAR)
    if said is None:
        return None
    try:
        found = _Said.model_validate(said)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        return Words(None, None, f"the last report is not as agreed: {place}: {problem['msg']}"[:_LONGEST])
    if found.final and found.result:
        return Words(found.result, found.release, "")
    missing = "the trainer's last report holds no result"
    return Words(None, None, (found.error or missing)[:_LONGEST])


def may_be_late(job: JobState, now: datetime) -> bool:
    """Whether the Job's end may have been heard before its pod's last words."""
    return job.ended is None or now - job.ended < LATE


def is_lost(job: JobState, now: datetime) -> bool:
    """Whether a Job succeeded and its words are gone with its pod: its files tell them again."""
    return job.succeeded and words(job) is None and not may_be_late(job, now)


def why(job: JobState) -> str:
    """Why a seed failed, in the words of whoever knows best."""
    ended = job.container(TRAINER)
    if ended and ended.ended == "OOMKilled":
        return "the trainer used more memory than its limit and was killed; raise its resources.limits.memory"
    said = words(job)
    if job.failed == "DeadlineExceeded":
        return f"{TOO_LONG}{f'; its last words: {said.error}' if said else ''}"
    if said and said.error:
        return said.error
    lines = ended.ended_message.strip().splitlines() if ended else []
    last = f": {lines[-1]}" if lines else ""
    return f"the trainer failed {max(job.attempts_failed, 1)} times{last}"[:_LONGEST]
