"""What a Job tells: how far it is, how it ended, and the last words of its containers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import JOB
from innervate_kinds.parts import pods

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from innervate_kinds.parts.pods import ContainerState, PodState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A Job that runs one pod to its end.

    Parameters
    ----------
    succeeded
        Whether it is complete.
    failed
        Why it failed for good (``BackoffLimitExceeded``, ``DeadlineExceeded``), or empty.
    failed_message
        The Job controller's words for it.
    attempts_failed
        Pods of it that failed so far.
    started, ended
        When it started, and when it ended in either way.
    pods
        Its pods, the oldest first: the last one is the attempt that counts.
    """

    succeeded: bool
    failed: str = ""
    failed_message: str = ""
    attempts_failed: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    pods: tuple[PodState, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether it ended, in either way."""
        return self.succeeded or bool(self.failed)

    @property
    def last(self) -> PodState | None:
        """The newest attempt's pod, where one is still there."""
        return self.pods[-1] if self.pods else None

    def container(self, name: str) -> ContainerState | None:
        """A container of the newest attempt, sidecars and init containers included."""
        found = self.last.containers if self.last else ()
        return next((container for container in found if container.name == name), None)

    def words(self, name: str) -> Mapping[str, Any] | None:
        """What a container that ended left as its termination message, where that is a JSON object."""
        container = self.container(name)
        try:
            content = json.loads(container.ended_message) if container else None
        except ValueError:
            return None
        return content if isinstance(content, dict) else None


def of_job(running: Sequence[Mapping[str, Any]], name: str, uid: str = "") -> list[Mapping[str, Any]]:
    """Those pods that no other Job controls: not those of an earlier one of that name either.

    Parameters
    ----------
    running
        Pods.
    name, uid
        Of the Job; empty where it is not known.
    """
    return [
        pod
        for pod in running
        if all(
            (not name or each.get("name") == name) and (not uid or each.get("uid") == uid)
            for each in pod["metadata"].get("ownerReferences") or ()
            if each.get("controller") and each.get("kind") == JOB.kind
        )
    ]


def job(
    found: Mapping[str, Any] | None, running: Sequence[Mapping[str, Any]], component: str
) -> JobState | None:
    """What a Job and its pods tell; None where it is not there.

    Parameters
    ----------
    found
        As cached.
    running
        Pods of its owner.
    component
        Which of these are its own, by label.
    """
    if found is None:
        return None
    status, metadata = found.get("status") or {}, found.get("metadata") or {}
    own = of_job(running, metadata.get("name", ""), metadata.get("uid", ""))
    conditions = {
        condition["type"]: condition
        for condition in status.get("conditions") or ()
        if condition["status"] == "True"
    }
    # A Job that is about to fail says so before its pods are gone; only then is the verdict final.
    failure = conditions.get("Failed")
    completion = status.get("completionTime") or (failure or {}).get("lastTransitionTime")
    return JobState(
        succeeded="Complete" in conditions,
        failed=failure.get("reason", "Failed") if failure else "",
        failed_message=failure.get("message", "") if failure else "",
        attempts_failed=status.get("failed", 0),
        started=pods.time(status["startTime"]) if status.get("startTime") else None,
        ended=pods.time(completion) if completion and conditions else None,
        pods=pods.of_component(own, component),
    )
