"""What a verifying Job said of a release."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from innervate_kinds.model_release import names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from innervate_kinds.parts.jobs import JobState
    from innervate_kinds.parts.pods import PodState


_LATE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The last words of the attempt that said something.

    Parameters
    ----------
    result
        ``Verified``, ``Refused``, or ``Failed`` where another attempt may tell more.
    words
        All it said.
    """

    result: str
    words: Mapping[str, Any]


def of(job: JobState, now: datetime) -> Verdict | None:
    """The verdict of a Job's newest attempt that left one; None while none has."""
    for pod in reversed(job.pods):
        for name in (names.VERIFY, names.SIGN):
            found = _words(pod, name)
            if found and found.get("result") in {"Verified", "Refused", "Failed"}:
                return Verdict(result=found["result"], words=found)
    if job.failed and not _may_be_late(job, now):
        # Killed before it could speak, each time: for want of memory, or by hand.
        message = f"the verifying Job failed: {job.failed_message or job.failed}"
        return Verdict(result="Failed", words={"part": "Store", "message": message})
    return None


def is_lost(job: JobState, now: datetime) -> bool:
    """Whether a Job succeeded and its words are gone with its pod."""
    return job.succeeded and of(job, now) is None and not _may_be_late(job, now)


def _may_be_late(job: JobState, now: datetime) -> bool:
    """Whether the Job's end may have been heard before its pod's."""
    return job.ended is None or now - job.ended < _LATE


def _words(pod: PodState, name: str) -> Mapping[str, Any] | None:
    container = next((each for each in pod.containers if each.name == name), None)
    try:
        content = json.loads(container.ended_message) if container else None
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
