"""Deletion of what has something outside its namespace: held by our finalizer until that is undone."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.names import ABANDON, FINALIZER, OWNER_UID
from innervate_service.logs import get_logger

from innervate_operator.errors import ApiError
from innervate_operator.events import Transition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.kind import Reference

    from innervate_operator.cache import Caches
    from innervate_operator.client import Client
    from innervate_operator.clock import Clock
    from innervate_operator.events import Recorder

MANAGER = "innervate-finalizer"
"""Field manager of our entry in `metadata.finalizers`."""
GIVE_UP_SECONDS = 600.0
"""After this a resource is released even though something could not be undone."""
_CHECK_SECONDS = 2.0

_log = get_logger(__name__)


class Undo:
    """Holds a resource, undoes, releases it.

    Parameters
    ----------
    client
        Writes behind the gate, and reads what is outside live.
    caches
        Takes the answers.
    events
        Told of releases.
    clock
        Measures the ten minutes.
    """

    def __init__(self, client: Client, caches: Caches, events: Recorder, clock: Clock) -> None:
        self._client = client
        self._caches = caches
        self._events = events
        self._clock = clock

    async def hold(self, raw: Mapping[str, Any], key: Reference) -> dict[str, Any]:
        """Add our finalizer, before anything outside the namespace is made."""
        return await self._client.apply(key, _manifest(raw, [FINALIZER]), manager=MANAGER)

    async def step(
        self, raw: Mapping[str, Any], key: Reference, outside: Sequence[Reference]
    ) -> float | None:
        """Go on with a deletion; returns seconds until the next look, None once it is released."""
        metadata = raw["metadata"]
        if FINALIZER not in (metadata.get("finalizers") or ()):
            return None
        if ABANDON in (metadata.get("annotations") or {}):
            note = f"Released without undoing, as the annotation {ABANDON} asked: {_names(outside)}"
            await self._release(raw, key, Transition("Warning", "Abandoned", note))
            return None
        left = [reference for reference in outside if await self._remains(reference, metadata["uid"])]
        if not left:
            await self._release(raw, key, None)
            return None
        since = datetime.fromisoformat(metadata["deletionTimestamp"])
        if (self._clock.now() - since).total_seconds() > GIVE_UP_SECONDS:
            note = f"Released although time was up; delete these by hand: {_names(left)}"
            await self._release(raw, key, Transition("Warning", "CleanupTimedOut", note))
            return None
        return _CHECK_SECONDS

    async def _remains(self, reference: Reference, uid: str) -> bool:
        try:
            live = await self._client.get(reference, metadata_only=True)
            if live is None or (live["metadata"].get("labels") or {}).get(OWNER_UID) != uid:
                return False
            if "deletionTimestamp" not in live["metadata"]:
                await self._client.delete(reference, uid=live["metadata"]["uid"])
        except ApiError as error:
            # Tried again until the ten minutes are over.
            _log.warning("something could not be undone yet", object=str(reference), error=error.message)
        return True

    async def _release(self, raw: Mapping[str, Any], key: Reference, transition: Transition | None) -> None:
        try:
            await self._client.apply(key, _manifest(raw, None), manager=MANAGER)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise
        if transition is not None:
            self._events.record(raw, transition)


def _manifest(raw: Mapping[str, Any], finalizers: list[str] | None) -> dict[str, Any]:
    metadata = {"name": raw["metadata"]["name"], "uid": raw["metadata"]["uid"]}
    if raw["metadata"].get("namespace"):
        metadata["namespace"] = raw["metadata"]["namespace"]
    if finalizers is not None:
        metadata["finalizers"] = finalizers
    return {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": metadata}


def _names(references: Sequence[Reference]) -> str:
    return ", ".join(str(reference) for reference in references) or "nothing"
