"""The status of a resource as JSON: stamped, compared, and what to say when a room could not speak.

Works on JSON rather than models, so that a resource its model refuses still gets a condition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api import conditions
from innervate_kinds.api.conditions import ACCEPTED, RECONCILING, STALLED
from innervate_kinds.api.resource import Condition
from pydantic import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from innervate_kinds.api.resource import Status

Json = dict[str, Any]

PAUSED = "Paused"
"""Condition of a resource that carries the pause annotation."""
_MESSAGE = 4096


def previous_conditions(resource: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Conditions as last written; one that cannot be read is left out."""
    found = []
    for item in (resource.get("status") or {}).get("conditions") or ():
        try:
            found.append(Condition.model_validate(item))
        except ValidationError:
            continue
    return tuple(found)


def stamped(status: Status, resource: Mapping[str, Any], now: datetime, trace: Json | None) -> Json:
    """JSON of a status that a room computed, with generation, transition times and trace."""
    content: Json = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return _finish(content, status.conditions, resource, now, trace)


def troubled(
    resource: Mapping[str, Any],
    reason: str,
    message: str,
    *,
    summary: str,
    stalled: bool,
    now: datetime,
    trace: Json | None,
) -> Json:
    """Status when there is no plan: what was known stays, and the trouble is said.

    Parameters
    ----------
    resource
        The resource as read.
    reason, message
        What is wrong.
    summary
        `Ready` or `Succeeded`.
    stalled
        True when only a changed resource helps; then the summary falls. Otherwise a summary that was
        known stays: what runs, runs on.
    now
        Transition time of what flips.
    trace
        Trace of this reconcile, as the status names it.
    """
    message = message[:_MESSAGE]
    known = {condition.type: condition for condition in previous_conditions(resource)}
    known.pop(PAUSED, None)
    if stalled:
        known[ACCEPTED] = conditions.false(ACCEPTED, reason, message)
        known[summary] = conditions.false(summary, reason, message)
        known[STALLED] = conditions.true(STALLED, reason, message)
        known[RECONCILING] = conditions.false(RECONCILING, reason, message)
    else:
        known[RECONCILING] = conditions.true(RECONCILING, reason, message)
        known[STALLED] = conditions.false(STALLED, reason, message)
        known.setdefault(summary, conditions.unknown(summary, reason, message))
    return _finish(dict(resource.get("status") or {}), known.values(), resource, now, trace)


def paused(resource: Mapping[str, Any], now: datetime) -> Json:
    """Status of a resource that is left alone: as it was, plus the condition that says so."""
    content = dict(resource.get("status") or {})
    known = {condition.type: condition for condition in previous_conditions(resource)}
    message = "the annotation innervate.dev/paused stops reconciling; remove it to go on"
    known[PAUSED] = conditions.true(PAUSED, "AnnotationSet", message)
    merged = conditions.merge(
        previous_conditions(resource), known.values(), generation=resource["metadata"]["generation"], now=now
    )
    # The generation of the others stays: they were not looked at.
    kept = {condition.type: condition for condition in previous_conditions(resource)}
    content["conditions"] = [_dump(kept.get(condition.type, condition)) for condition in merged]
    return content


def telling(status: Json, prompt: Iterable[str] = ()) -> Json:
    """The part of a status that is written at once; messages and counts may wait.

    Parameters
    ----------
    status
        A status.
    prompt
        Further fields of it that may not wait.
    """
    verdicts = [
        (condition["type"], condition["status"], condition["reason"])
        for condition in status.get("conditions") or ()
    ]
    fields = ("observedGeneration", "endpoint", "trace", *prompt)
    return {"conditions": verdicts} | {field: status.get(field) for field in fields}


def _about(trace: Mapping[str, Any]) -> tuple[Any, Any]:
    return trace.get("generation"), trace.get("chapter")


def _finish(
    content: Json,
    current: Iterable[Condition],
    resource: Mapping[str, Any],
    now: datetime,
    trace: Json | None,
) -> Json:
    generation = resource["metadata"].get("generation", 0)
    merged = conditions.merge(previous_conditions(resource), current, generation=generation, now=now)
    content["observedGeneration"] = generation
    content["conditions"] = [_dump(condition) for condition in merged]
    told = (resource.get("status") or {}).get("trace")
    if told is not None and _about(told) == (_about(trace) if trace else (generation, told.get("chapter"))):
        content["trace"] = told
    elif trace is not None:
        content["trace"] = trace
    else:
        content.pop("trace", None)
    return content


def _dump(condition: Condition) -> Json:
    return condition.model_dump(mode="json", by_alias=True, exclude_none=True)
