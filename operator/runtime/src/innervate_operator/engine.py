"""Caches, queue and reconcilers of all rooms, wired together: all but election, trust and the ports."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import yaml
from innervate_kinds.api.kind import Kind, Reference
from innervate_kinds.api.room import Room, Scope
from innervate_service.logs import get_logger
from opentelemetry import trace

from innervate_operator import metrics
from innervate_operator.apply import Applier
from innervate_operator.cache import Caches, Store
from innervate_operator.errors import ApiError, StartupError
from innervate_operator.events import Recorder
from innervate_operator.prober import Prober
from innervate_operator.queue import Closed, Queue
from innervate_operator.reconcile import Reconciler, Result, Tools, Visit
from innervate_operator.reflector import Reflector
from innervate_operator.wake import Waker
from innervate_operator.watching import OwnKinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from innervate_kinds.api.plan import Config

    from innervate_operator.client import Client
    from innervate_operator.clock import Clock
    from innervate_operator.settings import Settings

_FILL_SECONDS = 2.0

_log = get_logger(__name__)


class Engine:
    """What watches and works.

    Parameters
    ----------
    client
        Writes behind the gate.
    rooms
        The kinds to look after.
    settings
        Namespaces, times, number of workers.
    clock
        Time.
    config
        The operator's own set-up, as of now.
    tracer
        Makes the spans; None where they would go nowhere: then a status names no trace either.
    doubt_seconds
        See `Applier`; None for its own.
    """

    def __init__(
        self,
        client: Client,
        rooms: Sequence[Room[Any, Any]],
        settings: Settings,
        *,
        clock: Clock,
        config: Callable[[], Config],
        tracer: trace.Tracer | None = None,
        doubt_seconds: float | None = None,
    ) -> None:
        self._settings = settings
        self.clock = clock
        self.queue: Queue[Reference] = Queue(clock)
        own = {room.kind: Store(room.kind, clock.monotonic) for room in rooms}
        needs = _needs(rooms)
        self.caches = Caches(own, {need: Store(need[0], clock.monotonic) for need in needs})
        self.waker = Waker(self.caches, self.queue.add)
        self.own = OwnKinds(
            client,
            self.caches,
            namespaces=settings.watch_namespaces,
            clock=clock,
            on_change=self.waker.own_changed,
        )
        self.prober = Prober(
            clock,
            authorities=lambda: config().trust.ca_bundle,
            token_file=settings.token_file,
            wake=self.queue.add,
        )
        self.events = Recorder(client, clock, instance=settings.pod_name)
        traced = tracer is not None
        tracer = tracer or trace.NoOpTracer()
        doubt = {} if doubt_seconds is None else {"doubt_seconds": doubt_seconds}
        self.applier = Applier(client, self.caches, tracer=tracer, clock=clock, **doubt)
        tools = Tools(
            client=client,
            caches=self.caches,
            applier=self.applier,
            prober=self.prober,
            waker=self.waker,
            events=self.events,
            tracer=tracer,
            clock=clock,
            config=config,
            traced=traced,
        )
        self._reconcilers: dict[Kind, Reconciler[Any, Any]] = {
            room.kind: Reconciler(room, tools) for room in rooms
        }
        self._reflectors = list(self._make_reflectors(client, needs))
        self.on_finished: Callable[[], None] = lambda: None
        """Called after every visit."""

    def load_static(self, path: Path) -> None:
        """Take cluster-scoped resources of ours from a file, for an operator that may not read them.

        Raises
        ------
        StartupError
            If the file holds something else.
        """
        kinds = {kind.kind: kind for kind in self.caches.own if not kind.namespaced}
        for manifest in yaml.safe_load_all(path.read_text()):
            if not manifest:
                continue
            kind = kinds.get(manifest.get("kind", ""))
            if kind is None:
                found = manifest.get("kind")
                raise StartupError(f"{path}: expected one of {', '.join(kinds)}, found {found!r}")
            self.caches.own[kind].put(manifest)

    async def fill(self) -> None:
        """Read our own kinds for the first time, however long the API server takes."""
        while True:
            try:
                await self.own.fill()
            except ApiError as error:
                _log.warning("our kinds cannot be listed yet; are the CRDs installed?", error=error.message)
                await self.clock.sleep(_FILL_SECONDS)
            else:
                return

    async def reflect(self) -> None:
        """Keep everything else cached until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _, reflector in self._reflectors:
                group.create_task(reflector.run())
            while not all(reflector.synced for _, reflector in self._reflectors):
                # Stores are shared by the reflectors of several namespaces: synced when all of them are.
                self._mark_synced()
                await self.clock.sleep(0.05)
            self._mark_synced()

    async def synced(self) -> None:
        """Return once every cache saw its first list."""
        while not self.caches.synced:
            await self.clock.sleep(0.05)

    async def work(self) -> None:
        """Run the workers until the queue is closed.

        Raises
        ------
        ExceptionGroup
            With `LeadershipLost` in it, when this replica may not write any more.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.workers):
                group.create_task(self._worker())

    def requeue_all(self) -> None:
        """Have every resource visited: something that all of them depend on changed."""
        for kind, store in self.caches.own.items():
            for namespace, name in store.keys():  # noqa: SIM118 -- a method of ours, not a dictionary's
                self.queue.add(Reference(kind, namespace or None, name))

    async def _worker(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except Closed:
                return
            try:
                visit = await self._visit(key)
                self._schedule(key, visit)
            finally:
                self.queue.done(key)
            self.on_finished()

    async def _visit(self, key: Reference) -> Visit:
        try:
            async with asyncio.timeout(self._settings.reconcile_seconds):
                return await self._reconcilers[key.kind].reconcile(key)
        except TimeoutError:
            metrics.BUGS.labels(key.kind.kind).inc()
            _log.error("a visit took too long and was broken off", resource=str(key))
            return Visit(Result.BUG)

    def _schedule(self, key: Reference, visit: Visit) -> None:
        resync = self._settings.resync_seconds
        if visit.result is Result.GONE or (visit.result is Result.DELETING and visit.after is None):
            self.queue.forget(key)
        elif visit.backoff:
            self.queue.add_failed(key, after=visit.after)
        else:
            self.queue.succeeded(key)
            if visit.after is not None and visit.after < resync:
                self.queue.add_after(key, visit.after)
            else:
                self.queue.add_resync(key, resync)

    def _make_reflectors(
        self, client: Client, needs: dict[tuple[Kind, Scope], bool]
    ) -> Iterator[tuple[tuple[Kind, Scope], Reflector]]:
        namespaces = self._settings.watch_namespaces
        for (kind, scope), optional in needs.items():
            store = self.caches.watched[kind, scope]
            scopes: tuple[str | None, ...] = namespaces or (None,)
            if namespaces and not kind.namespaced:
                # No rights to read what is outside namespaces: to the rooms it is not there.
                store.available, store.synced = False, True
                continue
            for namespace in scopes:
                reflector = Reflector(
                    client,
                    store,
                    scope=scope,
                    namespace=namespace,
                    optional=optional,
                    clock=self.clock,
                    on_change=self.waker.changed,
                )
                yield (kind, scope), reflector

    def _mark_synced(self) -> None:
        for need, store in self.caches.watched.items():
            mine = [reflector for name, reflector in self._reflectors if name == need]
            store.synced = store.synced or all(reflector.synced for reflector in mine)


def _needs(rooms: Sequence[Room[Any, Any]]) -> dict[tuple[Kind, Scope], bool]:
    """Kinds and scopes to reflect, and whether the cluster may lack them."""
    own = {room.kind for room in rooms}
    found: dict[tuple[Kind, Scope], bool] = {}
    for room in rooms:
        wanted = [(kind, Scope.OWNED, False) for kind in room.children]
        wanted += [(watch.kind, watch.scope, watch.optional) for watch in room.watches]
        for kind, scope, optional in wanted:
            if kind not in own:
                found[kind, scope] = optional and found.get((kind, scope), True)
    # What is watched whole need not be watched twice.
    return {
        (kind, scope): optional
        for (kind, scope), optional in found.items()
        if scope is Scope.ALL or (kind, Scope.ALL) not in found
    }
