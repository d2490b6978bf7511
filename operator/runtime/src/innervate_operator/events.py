"""Kubernetes Events: said once, when a condition flips, in the past tense."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_kinds.api.conditions import READY, STALLED, SUCCEEDED
from innervate_kinds.api.kind import Kind, Reference
from innervate_service.logs import get_logger

from innervate_operator import metrics
from innervate_operator.errors import ApiError, LeadershipLost

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from innervate_operator.client import Client
    from innervate_operator.clock import Clock

EVENT = Kind("events.k8s.io", "v1", "Event", "events")
_REPORTED = (READY, SUCCEEDED, STALLED)
_REPEAT_SECONDS = 600.0
_REMEMBERED = 4096
_WAITING = 1000
_NOTE = 1024
"""The API server refuses longer notes."""

_log = get_logger(__name__)


class Transition(NamedTuple):
    """Something that happened to a resource."""

    type: str
    """``Normal`` or ``Warning``."""
    reason: str
    note: str


def transitions(
    previous: Sequence[Mapping[str, Any]], current: Sequence[Mapping[str, Any]]
) -> Iterator[Transition]:
    """Say what the flips of a resource's main conditions mean, in the past tense."""
    before = {condition["type"]: condition for condition in previous}
    for condition in current:
        type_, status = condition["type"], condition["status"]
        old = before.get(type_, {}).get("status", "Unknown")
        if type_ not in _REPORTED or status in {old, "Unknown"}:
            continue
        words = f"{condition['reason']}: {condition.get('message', '')}".rstrip(": ")
        if type_ == STALLED:
            if status == "True":
                yield Transition("Warning", "Stalled", f"Stopped trying, {words}")
            elif old == "True":
                yield Transition("Normal", "Resumed", "Went on after a stall")
        elif status == "True":
            yield Transition("Normal", f"Became{type_}", f"Became {type_.lower()}, {words}")
        elif old == "True":
            yield Transition("Warning", f"Lost{type_}", f"Ceased to be {type_.lower()}, {words}")
        elif type_ == SUCCEEDED:
            yield Transition("Warning", "Failed", f"Failed, {words}")


class Recorder:
    """Sends events in the background; too many are dropped and counted, never waited for.

    Parameters
    ----------
    client
        Writes behind the gate.
    clock
        Dates the events.
    instance
        Name of this replica.
    """

    def __init__(self, client: Client, clock: Clock, *, instance: str) -> None:
        self._client = client
        self._clock = clock
        self._instance = instance
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING)
        self._said: OrderedDict[tuple[str, Transition], float] = OrderedDict()

    def record(self, resource: Mapping[str, Any], transition: Transition) -> None:
        """Send an event about a resource, unless the same was said in the last ten minutes."""
        metadata = resource["metadata"]
        said = (metadata["uid"], transition)
        now = self._clock.monotonic()
        if now - self._said.get(said, float("-inf")) < _REPEAT_SECONDS:
            return
        self._said[said] = now
        self._said.move_to_end(said)
        if len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        # Events of cluster-scoped resources live in the namespace `default`.
        namespace = metadata.get("namespace") or "default"
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "eventTime": self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": transition.type,
            "reason": transition.reason,
            "note": transition.note[:_NOTE],
            "action": "Reconcile",
            "reportingController": "innervate.dev/operator",
            "reportingInstance": self._instance[:128],
            "regarding": {
                "apiVersion": resource["apiVersion"],
                "kind": resource["kind"],
                "namespace": metadata.get("namespace"),
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion"),
            },
        }
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.inc()

    async def run(self) -> None:
        """Send events until cancelled."""
        while True:
            await self._send(await self._waiting.get())

    async def flush(self, seconds: float) -> None:
        """Send what waits, for at most that long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._waiting.empty():
                    await self._send(self._waiting.get_nowait())

    async def _send(self, event: dict[str, Any]) -> None:
        try:
            await self._client.create(Reference.of(EVENT, event), event, manager="innervate")
        except ApiError as error:
            metrics.EVENTS_DROPPED.inc()
            _log.debug("an event was refused", reason=event["reason"], error=error.message)
        except LeadershipLost:
            metrics.EVENTS_DROPPED.inc()
