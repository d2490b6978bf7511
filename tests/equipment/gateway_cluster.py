"""The two collections of an API server that a gateway follows, served as an API server does."""

import asyncio
import contextlib
import json
from typing import Any

from aiohttp import web

UID = "11111111-2222-3333-4444-555555555555"
NAMESPACE = "shop"
POOL = "answers"
POOLS = f"/apis/innervate.dev/v1alpha1/namespaces/{NAMESPACE}/inferencepools"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
Json = dict[str, Any]


def arm(name: str, release: str, weight: int, role: str = "Stable") -> Json:
    return {"name": name, "releaseRef": {"name": release}, "weight": weight, "role": role}


def pool_document(
    *,
    generation: int = 1,
    traffic: list[Json] | None = None,
    variants: list[Json] | None = None,
    uid: str = UID,
    release: str = "first",
) -> Json:
    spec: Json = {
        "model": {"name": "tiny", "releaseRef": {"name": release}},
        "variants": variants or [{"name": "cpu", "engine": "LlamaCpp", "parallel": 4}],
    }
    if traffic is not None:
        spec["traffic"] = traffic
    metadata = {"name": POOL, "namespace": NAMESPACE, "uid": uid, "generation": generation}
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "InferencePool",
        "metadata": metadata,
        "spec": spec,
    }


def slice_document(
    name: str,
    *,
    release: str,
    port: int,
    variant: str = "cpu",
    uid: str = UID,
    addresses: tuple[str, ...] = ("127.0.0.1",),
    ready: bool = True,
    cost: str | None = None,
) -> Json:
    labels = {
        "innervate.dev/owner-uid": uid,
        "app.kubernetes.io/component": "engine",
        "innervate.dev/variant": variant,
        "innervate.dev/release": release,
    }
    if cost is not None:
        labels["innervate.dev/cost-per-hour"] = cost
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses],
    }


class ClusterApi:
    """Lists and watches with versions, and can be made to fail as an API server can."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Json]] = {POOLS: {}, SLICES: {}}
        self._history: dict[str, list[tuple[int, Json]]] = {POOLS: [], SLICES: []}
        self._version = 100
        self._changed = asyncio.Event()
        self._forgotten = 0
        self._runner: web.AppRunner | None = None
        self._cut = asyncio.Event()
        self.port = 0
        self.queries: list[tuple[str, dict[str, str]]] = []
        self.tokens: list[str] = []
        self.fail_with: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        application = web.Application()
        for path in self._objects:
            application.router.add_get(path, self._get)
        self._runner = web.AppRunner(application, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut(self) -> None:
        """End every running watch."""
        self._cut.set()
        self._cut = asyncio.Event()
        self._announce()

    async def put(self, document: Json) -> None:
        path = POOLS if document["kind"] == "InferencePool" else SLICES
        name = document["metadata"]["name"]
        kind = "MODIFIED" if name in self._objects[path] else "ADDED"
        await self._change(path, kind, document)

    async def delete(self, path: str, name: str) -> None:
        await self._change(path, "DELETED", self._objects[path][name])

    async def forget_history(self) -> None:
        """Compact: whoever watches from before must list again."""
        self._version += 1
        self._forgotten = self._version
        self._announce()

    async def bookmark(self, path: str) -> None:
        self._version += 1
        event = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self._version)}}}
        self._history[path].append((self._version, event))
        self._announce()

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _change(self, path: str, kind: str, document: Json) -> None:
        self._version += 1
        stored = json.loads(json.dumps(document))
        stored["metadata"]["resourceVersion"] = str(self._version)
        if kind == "DELETED":
            del self._objects[path][stored["metadata"]["name"]]
        else:
            self._objects[path][stored["metadata"]["name"]] = stored
        self._history[path].append((self._version, {"type": kind, "object": stored}))
        self._announce()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.queries.append((request.path, query))
        self.tokens.append(request.headers.get("authorization", ""))
        if self.fail_with is not None:
            return web.Response(status=self.fail_with)
        if query.get("watch") != "1":
            return self._list(request.path, query)
        version = int(query["resourceVersion"])
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await self._watch(request.path, version, query, response)
        return response

    def _list(self, path: str, query: dict[str, str]) -> web.Response:
        items = [item for item in self._objects[path].values() if _selected(item, query)]
        start = int(query.get("continue", "0"))
        # Pages of two, so that paging is met even with few objects.
        page, rest = items[start : start + 2], items[start + 2 :]
        metadata: Json = {"resourceVersion": str(self._version)}
        if rest:
            metadata["continue"] = str(start + 2)
        return web.json_response({"items": page, "metadata": metadata})

    async def _watch(
        self, path: str, version: int, query: dict[str, str], response: web.StreamResponse
    ) -> None:
        cut = self._cut
        while not cut.is_set():
            changed = self._changed
            if version < self._forgotten:
                gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
                await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                return
            for number, event in list(self._history[path]):
                if number > version:
                    if event["type"] == "BOOKMARK" or _selected(event["object"], query):
                        line = json.dumps(event).encode() + b"\n"
                        # In two parts: an event may be cut at any byte.
                        await response.write(line[: len(line) // 2])
                        await response.write(line[len(line) // 2 :])
                    version = number
            await changed.wait()


def _selected(item: Json, query: dict[str, str]) -> bool:
    labels = item["metadata"].get("labels", {})
    wanted = [pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair]
    name = query.get("fieldSelector", "").removeprefix("metadata.name=")
    return name in ("", item["metadata"]["name"]) and all(labels.get(key) == value for key, value in wanted)
