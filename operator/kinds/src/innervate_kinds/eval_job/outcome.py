"""What the runners of an eval job left as their last words."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from innervate_kinds.api.resource import Model
from innervate_kinds.eval_job.model import Comparison, Counts, Summary, Verdict
from innervate_kinds.eval_job.names import RUNNER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from innervate_kinds.parts.jobs import JobState

_LATE = timedelta(seconds=30)
"""So long after a Job's end its pod's last words may still be on their way."""
_LONGEST = 1500


class Result(Model):
    """What a runner found."""

    summary: tuple[Summary, ...] = ()
    comparison: Comparison | None = None
    verdict: Verdict | None = None
    counts: Counts


class Trouble(NamedTuple):
    """Why a runner found nothing."""

    reason: str
    message: str


def result(job: JobState) -> Result | None:
    """What the newest runner that got to the end found; None where none did."""
    for words in _words(job):
        try:
            return Result.model_validate(words)
        except ValidationError:
            continue
    return None


def trouble(job: JobState) -> Trouble | None:
    """Why the newest runner that said so found nothing."""
    for words in _words(job):
        error = words.get("error")
        if isinstance(error, dict):
            return Trouble(str(error.get("reason", "")), str(error.get("message", ""))[:_LONGEST])
    return None


def may_be_late(job: JobState, now: datetime) -> bool:
    """Whether the Job's end may have been heard before its pod's last words."""
    return job.ended is None or now - job.ended < _LATE


def is_lost(job: JobState, now: datetime) -> bool:
    """Whether a Job succeeded and its words are gone with its pod; the sample log has them still."""
    return job.succeeded and result(job) is None and not may_be_late(job, now)


def _words(job: JobState) -> Iterator[Mapping[str, Any]]:
    for pod in reversed(job.pods):
        for container in pod.containers:
            if container.name != RUNNER or not container.ended_message:
                continue
            try:
                content = json.loads(container.ended_message)
            except ValueError:
                continue
            if isinstance(content, dict):
                yield content
