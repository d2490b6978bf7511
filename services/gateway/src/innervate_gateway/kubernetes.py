"""Following objects of the API server: list, then watch from there; again from the list where a gap may be.

While the API server is away the last known objects stay: whoever is told of changes is told nothing.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp
import orjson
from innervate_service.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from innervate_gateway.config import KubernetesConfig
    from innervate_gateway.pool import Json

    Changed = Callable[[Mapping[str, Json]], None]

_WATCH_SECONDS: Final = 240
"""How long the API server is asked to keep a watch open; bookmarks make the next one cheap."""
_SILENCE_SECONDS: Final = 300
"""A watch that says nothing for longer, not even its end, is dead."""
_LIST_SECONDS: Final = 30
_FIRST_RETRY_SECONDS: Final = 0.2
_LAST_RETRY_SECONDS: Final = 10.0
_PAGE: Final = 500
_MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
_log = get_logger(__name__)


class _Expired(Exception):
    """The API server no longer has the history that a watch asks for."""


class ApiServer:
    """A session with the API server.

    Parameters
    ----------
    config
        Where it is, and the pod's token for it.
    """

    def __init__(self, config: KubernetesConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def get(self, path: str, parameters: Mapping[str, str], *, total: float | None, silence: float) -> Any:
        """Ask for a path; the answer is aiohttp's."""
        assert self._session is not None  # noqa: S101  used as a context
        headers = {"accept": "application/json"}
        if self._config.token_file is not None:
            # Read each time: kubelet renews it.
            headers["authorization"] = f"Bearer {self._config.token_file.read_text(encoding='ascii').strip()}"
        return self._session.get(
            self._config.server + path,
            params=dict(parameters),
            headers=headers,
            ssl=self._tls(),
            timeout=aiohttp.ClientTimeout(total=total, sock_connect=10, sock_read=silence),
            allow_redirects=False,
        )

    def _tls(self) -> ssl.SSLContext | bool:
        if not self._config.server.startswith("https:") or self._config.ca_file is None:
            return True
        return ssl.create_default_context(cafile=str(self._config.ca_file))


class Follower:
    """Follows the objects of one collection.

    Parameters
    ----------
    server
        The API server.
    path
        The collection's path.
    selector
        ``fieldSelector`` or ``labelSelector`` with its value.
    changed
        Gets all objects by name, after the list and after every change.
    """

    def __init__(self, server: ApiServer, path: str, selector: Mapping[str, str], changed: Changed) -> None:
        self._server = server
        self._path = path
        self._selector = dict(selector)
        self._changed = changed
        self._objects: dict[str, Json] = {}
        self._version: str | None = None
        self.problem: str | None = f"{path} was not listed yet"
        """Why what it told may be old; None while it is not."""

    async def run(self) -> None:
        """Follow until cancelled; no failure ends it."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began = loop.time()
            try:
                if self._version is None:
                    await self._list()
                await self._watch()
            except _Expired:
                self._version = None
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
                if isinstance(error, (ValueError, KeyError)):
                    # What was said made no sense, so what is known may not either.
                    self._version = None
                self.problem = f"{self._path} cannot be followed: {_words(error)}"
                _log.warning("the API server cannot be followed", path=self._path, error=_words(error))
            if loop.time() - began > _LAST_RETRY_SECONDS:
                failures = 0
                continue
            # Also a watch that ends at once, in whatever way, must not be tried without end.
            longest = min(_LAST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(failures, 10))
            failures += 1
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311  jitter is no secret

    async def _list(self) -> None:
        objects: dict[str, Json] = {}
        parameters = {**self._selector, "limit": str(_PAGE)}
        while True:
            async with self._server.get(
                self._path, parameters, total=_LIST_SECONDS, silence=_LIST_SECONDS
            ) as response:
                _check(response.status)
                document = orjson.loads(await response.read())
            objects |= {item["metadata"]["name"]: item for item in document.get("items") or ()}
            metadata = document["metadata"]
            if not metadata.get("continue"):
                break
            parameters["continue"] = metadata["continue"]
        self._version = metadata["resourceVersion"]
        self._objects = objects
        self._tell()

    async def _watch(self) -> None:
        parameters = {
            **self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        async with self._server.get(self._path, parameters, total=None, silence=_SILENCE_SECONDS) as response:
            _check(response.status)
            self.problem = None
            rest = b""
            async for data in response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _MAX_EVENT_BYTES:
                    raise ValueError("an event of the watch is too long")
                changed = [self._take(orjson.loads(line)) for line in lines if line.strip()]
                if any(changed):
                    self._tell()

    def _take(self, event: Json) -> bool:
        """Take an event; whether it changed anything."""
        kind, document = event["type"], event["object"]
        if kind == "ERROR":
            if document.get("code") == 410:
                raise _Expired
            raise ValueError(f"the watch failed: {document.get('message')}")
        metadata = document["metadata"]
        self._version = metadata["resourceVersion"]
        if kind == "BOOKMARK":
            return False
        if kind == "DELETED":
            self._objects.pop(metadata["name"], None)
        else:
            self._objects[metadata["name"]] = document
        return True

    def _tell(self) -> None:
        try:
            self._changed(self._objects)
        except Exception as bug:  # noqa: BLE001  it must go on following
            _log.exception("a change could not be taken up", bug, path=self._path)


class PoolFollower:
    """Follows an InferencePool and, by its uid, the EndpointSlices of its engines.

    Parameters
    ----------
    server
        The API server.
    namespace, name
        The pool.
    see_pool
        Gets the pool; None where it is gone.
    see_slices
        Gets all slices of its engines.
    """

    def __init__(
        self,
        server: ApiServer,
        *,
        namespace: str,
        name: str,
        see_pool: Callable[[Json | None], None],
        see_slices: Callable[[list[Json]], None],
    ) -> None:
        self._server = server
        self._namespace = namespace
        self._name = name
        self._see_pool = see_pool
        self._see_slices = see_slices
        self._uid: str | None = None
        self._slices: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        pools = Follower(
            self._server,
            f"/apis/innervate.dev/v1alpha1/namespaces/{self._namespace}/inferencepools",
            {"fieldSelector": f"metadata.name={self._name}"},
            self._pool_changed,
        )
        try:
            await pools.run()
        finally:
            await self._end_slices()

    def _pool_changed(self, objects: Mapping[str, Json]) -> None:
        document = objects.get(self._name)
        if document is not None and document["metadata"]["uid"] != self._uid:
            self._uid = document["metadata"]["uid"]
            if self._slices is not None:
                self._slices.cancel()
            self._slices = asyncio.get_running_loop().create_task(
                self._follow_slices(document["metadata"]["uid"]), name="endpoint-slices"
            )
        self._see_pool(document)

    async def _follow_slices(self, uid: str) -> None:
        slices = Follower(
            self._server,
            f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices",
            {"labelSelector": f"innervate.dev/owner-uid={uid},app.kubernetes.io/component=engine"},
            lambda objects: self._see_slices(list(objects.values())),
        )
        await slices.run()

    async def _end_slices(self) -> None:
        if self._slices is not None:
            self._slices.cancel()
            await asyncio.gather(self._slices, return_exceptions=True)


def _check(status: int) -> None:
    if status == 410:
        raise _Expired
    if status != 200:
        raise aiohttp.ClientError(f"the API server answered {status}")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
