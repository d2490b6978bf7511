"""Keeps one store equal to the API server: paged list, bookmarked watch, atomic swap on relist."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.room import Scope
from innervate_service.logs import get_logger

from innervate_operator.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_operator.cache import Change, Entry, Key, Store
    from innervate_operator.client import Client
    from innervate_operator.clock import Clock

_log = get_logger(__name__)

_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_ABSENT_SECONDS = 30.0
"""How often a kind that the cluster does not serve is asked for again."""


class Reflector:
    """One list and watch.

    Parameters
    ----------
    client
        Reads only.
    store
        What is kept; several reflectors, one per namespace, may share it.
    scope
        Which objects, and how much of each.
    namespace
        The one namespace to watch; None for all.
    optional
        Whether the cluster may lack the kind without a word in the log.
    clock
        Waits between attempts.
    on_change
        Told of everything that changed.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        *,
        scope: Scope,
        namespace: str | None,
        optional: bool,
        clock: Clock,
        on_change: Callable[[Change], None],
    ) -> None:
        self._client = client
        self._store = store
        self._namespace = namespace
        self._selector = OWNER_UID if scope is Scope.OWNED else ""
        self._metadata_only = scope is Scope.METADATA
        self._optional = optional
        self._clock = clock
        self._on_change = on_change
        self._version = ""
        self._failures = 0
        self.synced = False

    async def run(self) -> None:
        """Keep the store current until cancelled; no answer of the server ends it."""
        while True:
            try:
                await self.step()
            except ApiError as error:
                await self._clock.sleep(self._delay(error))

    async def step(self) -> None:
        """List if the last position is lost, then watch until the stream ends.

        Raises
        ------
        ApiError
            As the server refused; `run` waits and comes again.
        """
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except ApiError as error:
            if error.status == 410:
                # Too old a version: everything is read anew.
                self._version = ""
                return
            if error.status == 404:
                self._absent()
            raise
        self._failures = 0

    async def _list(self) -> None:
        fresh: list[tuple[Key, Entry]] = []
        pages = self._client.pages(
            self._store.kind, self._namespace, selector=self._selector, metadata_only=self._metadata_only
        )
        version = ""
        async for page in pages:
            fresh.extend(self._store.compact(item) for item in page.items)
            version = page.resource_version
        for change in self._store.swap(fresh, version=version, namespace=self._namespace or ""):
            self._on_change(change)
        self._version = version
        self._failures = 0
        self._store.available = True
        self.synced = True

    async def _watch(self) -> None:
        events = self._client.watch(
            self._store.kind,
            self._namespace,
            resource_version=self._version,
            selector=self._selector,
            metadata_only=self._metadata_only,
        )
        async with contextlib.aclosing(events) as stream:  # type: ignore[type-var]  # an async generator
            async for event, manifest in stream:
                self._failures = 0
                version = manifest["metadata"]["resourceVersion"]
                change = None
                if event == "DELETED":
                    change = self._store.remove(manifest)
                elif event != "BOOKMARK":
                    change = self._store.put(manifest)
                self._version = version
                self._store.progressed(version, namespace=self._namespace or "")
                if change is not None:
                    self._on_change(change)

    def _absent(self) -> None:
        # The cluster does not serve the kind (any more): nothing of it exists.
        if self._store.available and not self._optional:
            _log.warning("the cluster does not serve a kind", kind=self._store.kind.kind)
        self._version = ""
        self._store.available = False
        for change in self._store.clear(namespace=self._namespace or ""):
            self._on_change(change)
        self.synced = True

    def _delay(self, error: ApiError) -> float:
        if error.status == 404:
            return _ABSENT_SECONDS
        delay = _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)]
        self._failures += 1
        _log.warning(
            "watching failed and is tried again",
            kind=self._store.kind.kind,
            status=error.status,
            error=error.message,
        )
        return max(delay, error.retry_after)
