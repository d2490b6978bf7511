"""A thin asynchronous Kubernetes client: only what the runtime needs, on aiohttp and orjson.

Every write goes through `Client.write`, which asks the gate first: a replica that no longer leads
writes nothing, and a request never outlives the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import aiohttp
import orjson

from innervate_operator.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from innervate_kinds.api.kind import Kind, Reference

    from innervate_operator.credentials import Credentials

Json = dict[str, Any]

PAGE = 500
_WATCH_SECONDS = 290
_SILENCE_SECONDS = 90.0
"""Bookmarks come about once a minute; a watch that is silent for longer is dead."""
_ATTEMPTS = 4
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


class Page(NamedTuple):
    """One page of a list."""

    items: list[Json]
    resource_version: str
    last: bool


class Gate(Protocol):
    """Says whether this replica may write."""

    def remaining(self) -> float:
        """Seconds for which a write may still be under way; raises `LeadershipLost` when none are left."""


class Open:
    """The gate of a replica that needs no lease."""

    def remaining(self) -> float:
        """Seconds without end."""
        return float("inf")


class Transport:
    """HTTP to one API server: pool, credentials, time limits.

    Parameters
    ----------
    credentials
        Where the server is and who we are.
    connections
        Most connections at once; every watch holds one.
    """

    def __init__(self, credentials: Credentials, *, connections: int = 128) -> None:
        self._credentials = credentials
        self._base = credentials.connection.server.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=credentials.connection.as_ssl_context(), limit=connections, keepalive_timeout=60
            ),
            auto_decompress=True,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        timeout: float,  # noqa: ASYNC109 -- aiohttp bounds connecting and reading itself
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Send one request and return the body of a good answer.

        Raises
        ------
        ApiError
            If the server refuses, or cannot be reached in time (status 0).
        """
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=params,
                data=body,
                headers={**self._credentials.headers(), **(headers or {})},
                timeout=limit,
            ) as response:
                content = await response.read()
                if response.status < 300:
                    return content
                if response.status == 401:
                    self._credentials.expire()
                raise _error(response, content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(method, path, error) from error

    async def stream(
        self, path: str, *, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[bytes]:
        """Send one request and yield the lines of its answer as they come.

        Raises
        ------
        ApiError
            If the server refuses, cannot be reached, or falls silent.
        """
        limit = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE_SECONDS)
        try:
            async with self._session.get(
                self._base + path,
                params=params,
                headers={**self._credentials.headers(), **headers},
                timeout=limit,
            ) as response:
                if response.status >= 300:
                    if response.status == 401:
                        self._credentials.expire()
                    raise _error(response, await response.read())
                pending: list[bytes] = []
                async for chunk in response.content.iter_any():
                    first, *others = chunk.split(b"\n")
                    pending.append(first)
                    for line in others:
                        yield b"".join(pending)
                        pending = [line]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable("WATCH", path, error) from error


@dataclass(frozen=True, slots=True)
class Client:
    """The verbs.

    Parameters
    ----------
    transport
        The connection.
    gate
        Asked before every write.
    timeout
        Seconds for one request.
    on_write
        Told the kind and verb of every write that is sent.
    """

    transport: Transport
    gate: Gate
    timeout: float = 10.0
    on_write: Callable[[str, str], None] = lambda _kind, _verb: None

    def ungated(self, *, timeout: float | None = None) -> Client:
        """Same connection without a gate: for the lease itself, and for reviews of tokens."""
        return replace(self, gate=Open(), timeout=timeout or self.timeout)

    async def raw(self, path: str) -> bytes:
        """Body of a path outside the resource API, such as ``/version``."""
        return await self._read(path, {}, {})

    async def get(self, reference: Reference, *, metadata_only: bool = False) -> Json | None:
        """Object as the server has it now, or None."""
        headers = {"Accept": _METADATA} if metadata_only else {}
        path = reference.kind.path(reference.namespace, reference.name)
        try:
            found: Json = orjson.loads(await self._read(path, {}, headers))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    async def pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[Page]:
        """Yield the collection page by page; the last page's resource version is where to watch from."""
        headers = {"Accept": _METADATA_LIST} if metadata_only else {}
        params = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            answer = orjson.loads(await self._read(kind.path(namespace), params, headers))
            metadata = answer["metadata"]
            following = metadata.get("continue", "")
            yield Page(answer.get("items") or [], metadata.get("resourceVersion", ""), not following)
            if not following:
                return
            params["continue"] = following

    async def watch(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        resource_version: str,
        selector: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[tuple[str, Json]]:
        """Yield event type and object from a resource version on, until the server ends the stream.

        Raises
        ------
        ApiError
            If the version is too old (status 410), the kind is gone, or the connection breaks.
        """
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(_WATCH_SECONDS, _WATCH_SECONDS + 60)),  # noqa: S311 -- spreads load
        }
        if selector:
            params["labelSelector"] = selector
        headers = {"Accept": _METADATA} if metadata_only else {}
        stream = self.transport.stream(kind.path(namespace), params=params, headers=headers)
        async with contextlib.aclosing(stream) as lines:  # type: ignore[type-var]  # an async generator
            async for line in lines:
                if not line:
                    continue
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(
                        status.get("code", 500), status.get("reason", ""), status.get("message", "")
                    )
                yield event["type"], event["object"]

    async def apply(
        self, reference: Reference, manifest: Mapping[str, Any], *, manager: str, subresource: str = ""
    ) -> Json:
        """Apply server-side, taking over fields that others hold."""
        return await self.write(
            "apply",
            "PATCH",
            reference,
            body=manifest,
            subresource=subresource,
            params={"fieldManager": manager, "force": "true"},
            content_type=_APPLY,
        )

    async def merge(
        self, reference: Reference, patch: Mapping[str, Any], *, manager: str, subresource: str = ""
    ) -> Json:
        """Merge-patch; carry `metadata.resourceVersion` for optimistic locking."""
        return await self.write(
            "patch",
            "PATCH",
            reference,
            body=patch,
            subresource=subresource,
            params={"fieldManager": manager},
            content_type=_MERGE,
        )

    async def create(self, reference: Reference, manifest: Mapping[str, Any], *, manager: str) -> Json:
        """Create; refused with `AlreadyExists` where the name is taken."""
        return await self.write(
            "create", "POST", reference, body=manifest, params={"fieldManager": manager}, named=False
        )

    async def replace(self, reference: Reference, manifest: Mapping[str, Any]) -> Json:
        """Replace the whole object; carry `metadata.resourceVersion` for optimistic locking."""
        return await self.write("update", "PUT", reference, body=manifest)

    async def delete(self, reference: Reference, *, uid: str) -> None:
        """Delete that very object; one that is gone or replaced by another counts as deleted."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self.write("delete", "DELETE", reference, body=body)
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def write(
        self,
        verb: str,
        method: str,
        reference: Reference,
        *,
        body: Mapping[str, Any],
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        subresource: str = "",
        named: bool = True,
    ) -> Json:
        """Send one write, again when the server says it is busy; the only way by which anything is changed.

        Raises
        ------
        LeadershipLost
            If this replica may not write any more.
        ApiError
            If the server refuses.
        """
        path = reference.kind.path(reference.namespace, reference.name if named else None)
        if subresource:
            path = f"{path}/{subresource}"
        content = orjson.dumps(body)
        for attempt in range(_ATTEMPTS):
            remaining = self.gate.remaining()
            self.on_write(reference.kind.kind, f"{verb}-{subresource}" if subresource else verb)
            try:
                answer = await self.transport.request(
                    method,
                    path,
                    timeout=min(self.timeout, remaining),
                    params=params,
                    body=content,
                    headers={"Content-Type": content_type},
                )
            except ApiError as error:
                await _wait_or_raise(error, attempt)
            else:
                return orjson.loads(answer)  # type: ignore[no-any-return]  # an object, by the API's contract
        raise AssertionError("the last attempt returns or raises")

    async def _read(self, path: str, params: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
        for attempt in range(_ATTEMPTS):
            try:
                return await self.transport.request(
                    "GET", path, timeout=self.timeout, params=params, headers=headers
                )
            except ApiError as error:
                await _wait_or_raise(error, attempt)
        raise AssertionError("the last attempt returns or raises")


async def _wait_or_raise(error: ApiError, attempt: int) -> None:
    # Only what the server itself asks to send again: the rest is for the caller's backoff.
    again = error.status == 429 or (error.status == 503 and error.retry_after > 0)
    if error.status == 401 and attempt == 0:
        return
    if not again or attempt + 1 == _ATTEMPTS:
        raise error
    await asyncio.sleep(min(max(error.retry_after, 0.1), 10.0))


def _error(response: aiohttp.ClientResponse, content: bytes) -> ApiError:
    try:
        status = orjson.loads(content)
        reason, message = status.get("reason", ""), status.get("message", "")
    except (orjson.JSONDecodeError, AttributeError):
        reason, message = "", content[:200].decode(errors="replace").strip()
    after = response.headers.get("Retry-After", "")
    return ApiError(
        response.status,
        reason,
        message or f"the API server answered {response.status}",
        retry_after=float(after) if after.isdigit() else 0.0,
    )


def _unreachable(method: str, path: str, error: Exception) -> ApiError:
    kind = "did not answer in time" if isinstance(error, TimeoutError) else f"cannot be reached: {error}"
    return ApiError(0, "Unavailable", f"the API server {kind} ({method} {path})")
