"""The only ways in which conditions change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.resource import Condition, ConditionStatus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from enum import StrEnum

READY = "Ready"
SUCCEEDED = "Succeeded"
ACCEPTED = "Accepted"
RESOLVED_REFS = "ResolvedRefs"
RECONCILING = "Reconciling"
STALLED = "Stalled"


def true(type_: str, reason: StrEnum | str, message: str = "") -> Condition:
    """Condition that holds."""
    return Condition(type=type_, status=ConditionStatus.TRUE, reason=str(reason), message=message)


def false(type_: str, reason: StrEnum | str, message: str) -> Condition:
    """Condition that does not hold; the message says why and what to do."""
    return Condition(type=type_, status=ConditionStatus.FALSE, reason=str(reason), message=message)


def unknown(type_: str, reason: StrEnum | str, message: str) -> Condition:
    """Condition that is not known yet."""
    return Condition(type=type_, status=ConditionStatus.UNKNOWN, reason=str(reason), message=message)


def summarize(
    summary: str, parts: Iterable[Condition], *, reason: StrEnum | str, message: str = ""
) -> Condition:
    """Derive `Ready` or `Succeeded`: true when all parts are true, else the first that is not.

    Parameters
    ----------
    summary
        Type of the condition to make.
    parts
        Conditions it stands on, the most telling first.
    reason, message
        What a true summary says.
    """
    ordered = list(parts)
    for wanted in (ConditionStatus.FALSE, ConditionStatus.UNKNOWN):
        for part in ordered:
            if part.status == wanted:
                return part.model_copy(update={"type": summary})
    return true(summary, reason, message)


def merge(
    previous: Iterable[Condition], current: Iterable[Condition], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Stamp conditions with generation and transition time.

    The time is kept where the status did not flip; conditions not named in `current` are dropped,
    because a status is written whole.

    Parameters
    ----------
    previous
        Conditions as last written.
    current
        Conditions as computed now.
    generation
        Generation that `current` was computed from.
    now
        Transition time of what flipped, to the second.
    """
    before = {condition.type: condition for condition in previous}
    merged = []
    for condition in current:
        old = before.get(condition.type)
        kept = old is not None and old.status == condition.status and old.last_transition_time is not None
        time = old.last_transition_time if kept and old is not None else now.replace(microsecond=0)
        merged.append(
            condition.model_copy(update={"observed_generation": generation, "last_transition_time": time})
        )
    return tuple(merged)
