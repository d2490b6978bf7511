"""Our own kinds: first listed by us, then watched by kopf, then checked against what kopf hides.

kopf does not tell when its first list ends, and an object deleted while its watch was broken is never
mentioned again. So the store is filled by a list of our own, and a timed list drops what is no longer
there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import kopf
from innervate_kinds.api.kind import Reference
from innervate_service.logs import get_logger

from innervate_operator.cache import key_of
from innervate_operator.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from innervate_kinds.api.kind import Kind

    from innervate_operator.cache import Caches, Change, Store
    from innervate_operator.client import Client
    from innervate_operator.clock import Clock
    from innervate_operator.credentials import Credentials

_KOPF_FINALIZER = "innervate.dev/unused-by-kopf"
"""kopf strips its own finalizer from what has no handlers that need it: it must not be ours."""

_log = get_logger(__name__)


class OwnKinds:
    """Keeps the stores of our kinds current.

    Parameters
    ----------
    client
        Reads only.
    caches
        Holds the stores.
    namespaces
        Namespaces to watch; empty for all.
    clock
        Says when a list began.
    on_change
        Told of everything that changed.
    """

    def __init__(
        self,
        client: Client,
        caches: Caches,
        *,
        namespaces: Sequence[str],
        clock: Clock,
        on_change: Callable[[Change], None],
    ) -> None:
        self._client = client
        self._stores: Mapping[Kind, Store] = caches.own
        self._namespaces = tuple(namespaces)
        self._clock = clock
        self._on_change = on_change

    async def fill(self) -> None:
        """List every kind once.

        Raises
        ------
        ApiError
            If a kind cannot be listed; its CRD may be missing.
        """
        for kind, store in self._stores.items():
            for namespace in self._scopes(kind):
                async for page in self._client.pages(kind, namespace):
                    for manifest in page.items:
                        self._take(store, manifest)
            store.synced = True

    async def confirm(self) -> None:
        """Drop what was cached before now and exists no more, each confirmed by a read of its own."""
        for kind, store in self._stores.items():
            began = self._clock.monotonic()
            missing = set(store.cached_before(began))
            for namespace in self._scopes(kind):
                async for page in self._client.pages(kind, namespace, metadata_only=True):
                    missing.difference_update(map(key_of, page.items))
            for key in missing:
                if self._namespaces and kind.namespaced and key[0] not in self._namespaces:
                    continue
                if not kind.namespaced and not self._scopes(kind):
                    continue
                live = await self._client.get(Reference(kind, key[0] or None, key[1]))
                if live is not None:
                    self._take(store, live)
                    continue
                _log.info("dropped a resource whose deletion was missed", kind=kind.kind, name=key[1])
                change = store.drop(key)
                if change is not None:
                    self._on_change(change)

    async def repeat(self, seconds: float) -> None:
        """Confirm every so often until cancelled."""
        while True:
            await self._clock.sleep(seconds)
            try:
                await self.confirm()
            except ApiError as error:
                _log.warning("the caches could not be checked", error=error.message)

    def event(self, kind: Kind, type_: str | None, manifest: dict[str, Any]) -> None:
        """Take what kopf saw."""
        store = self._stores[kind]
        if type_ == "DELETED":
            change = store.remove(manifest)
            if change is not None:
                self._on_change(change)
        else:
            self._take(store, manifest)

    def watches(self, kind: Kind) -> bool:
        """Whether objects of the kind can be read: none of a cluster-scoped one with rights in namespaces."""
        return bool(self._scopes(kind))

    def _take(self, store: Store, manifest: dict[str, Any]) -> None:
        # Items of a list do not name their kind, and events do.
        manifest.setdefault("apiVersion", store.kind.api_version)
        manifest.setdefault("kind", store.kind.kind)
        change = store.put(manifest)
        if change is not None:
            self._on_change(change)

    def _scopes(self, kind: Kind) -> tuple[str | None, ...]:
        if not self._namespaces:
            return (None,)
        # With rights in some namespaces only, cluster-scoped kinds come from the settings.
        return self._namespaces if kind.namespaced else ()


def registry(own: OwnKinds, kinds: Sequence[Kind], credentials: Credentials) -> kopf.OperatorRegistry:
    """Handlers for kopf: every event of our kinds, and how to log in. Nothing else is kopf's business."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return credentials.renewed()

    for kind in filter(own.watches, kinds):

        def seen(*, event: Mapping[str, Any], kind: Kind = kind, **_: Any) -> None:
            own.event(kind, event["type"], dict(event["object"]))

        async def handler(*, _seen: Any = seen, **kwargs: Any) -> None:
            _seen(**kwargs)

        kopf.on.event(kind.group, kind.version, kind.plural, id="wake", registry=handlers)(handler)
    return handlers


def kopf_settings(*, scanning: bool) -> kopf.OperatorSettings:
    """How kopf is kept to watching.

    Parameters
    ----------
    scanning
        Whether kopf follows definitions as they come and go, for which it needs rights in the whole
        cluster: without them it asks again for minutes and watches nothing meanwhile.
    """
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = _KOPF_FINALIZER
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = not scanning
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 10.0
    # Objects are many and their events few: idle workers would only hold memory.
    settings.queueing.idle_timeout = 0.5
    return settings


async def watch(
    handlers: kopf.OperatorRegistry, *, namespaces: Sequence[str], on_started: Callable[[], None]
) -> None:
    """Run kopf until cancelled.

    Its tasks are supervised here and not by `kopf.operator`, which in the end cancels every task of the
    loop that is younger than itself, and so would cut our own workers off while they drain.

    Parameters
    ----------
    handlers
        From `registry`.
    namespaces
        Namespaces to watch; empty for all.
    on_started
        Called once kopf has put its own signal handlers in place of those there were.

    Raises
    ------
    RuntimeError
        If kopf ends by itself.
    """
    tasks = await kopf.spawn_tasks(
        registry=handlers,
        settings=kopf_settings(scanning=not namespaces),
        clusterwide=not namespaces,
        namespaces=tuple(namespaces),
    )
    on_started()
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            raise RuntimeError(f"kopf ended: {task.get_name()}") from task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
