"""A whole gateway in the test's process: real sockets, TLS, tokens, Redis, and an API server's two lists."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
from eventually import eventually
from gateway_cluster import NAMESPACE, POOL, ClusterApi, pool_document, slice_document
from gateway_engine import Engine
from innervate_api.exchange.v1 import exchange_pb2_grpc
from innervate_gateway.config import GatewayConfig
from innervate_gateway.service import Gateway
from innervate_service.serve import Server
from innervate_service.tls import CertificateStore
from memory_process import Cluster
from redis_process import RedisProcess

CHAT = "/v1/chat/completions"


def gateway_config(cluster: Cluster, redis: RedisProcess, api: ClusterApi, **changes: Any) -> GatewayConfig:
    """Give the configuration as the operator would write it."""
    (cluster.directory / "engine-key").write_text("engine secret\n".replace(" ", "-"))
    (cluster.directory / "kube-token").write_text("kubernetes-token\n")
    document = {
        "service": {
            "listen": "localhost:0",
            "healthListen": "localhost:0",
            "metricsListen": "localhost:0",
            "drain": {"delaySeconds": 0, "graceSeconds": 5},
            "paths": {"trustDirectory": str(cluster.trust), "identityDirectory": str(cluster.identity)},
        },
        "pool": {"namespace": NAMESPACE, "name": POOL},
        "operator": {"namespace": "innervate-system", "name": "innervate-operator"},
        "listen": "127.0.0.1:0",
        "redis": {
            "host": "127.0.0.1",
            "port": redis.port,
            "tls": redis.tls is not None,
            "passwordFile": str(redis.password_file),
        },
        "engineKeyFile": str(cluster.directory / "engine-key"),
        "externalKeyDirectory": str(cluster.directory / "external"),
        "kubernetes": {
            "server": api.url,
            "tokenFile": str(cluster.directory / "kube-token"),
            "caFile": None,
        },
    }
    for name, change in changes.items():
        document[name] = {**document.get(name, {}), **change} if isinstance(change, dict) else change
    return GatewayConfig.model_validate_json(json.dumps(document))


class Reply(NamedTuple):
    """An answer as a caller gets it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.document["error"]


async def read_reply(reader: asyncio.StreamReader) -> Reply:
    """Read one answer; IncompleteReadError where it is cut."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ")[1])
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in pairs}
    assert len(headers) == len(pairs), f"a header is there twice: {pairs}"
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    else:
        body = await reader.read()
    return Reply(status, headers, body)


def chat(stream: bool | None = None, **fields: Any) -> dict[str, Any]:
    document = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]} | fields
    return document if stream is None else document | {"stream": stream}


@dataclass
class RunningGateway:
    """A started gateway and what callers need."""

    gateway: Gateway
    server: Server
    cluster: Cluster
    api: ClusterApi
    redis: RedisProcess
    engine: Engine

    @property
    def authorization(self) -> str:
        return self.cluster.metadata()[0][1]

    @property
    def connections(self) -> set[Any]:
        return self.gateway._listener._connections

    def head(
        self, length: int, headers: dict[str, str | None], path: str = CHAT, method: str = "POST"
    ) -> bytes:
        fields: dict[str, str | None] = {
            "host": "gateway",
            "authorization": self.authorization,
            "content-length": str(length),
        } | headers
        lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
        return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port, limit=2**26)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def ask(
        self,
        document: Any = None,
        *,
        path: str = CHAT,
        method: str = "POST",
        body: bytes | None = None,
        **headers: str | None,
    ) -> Reply:
        """Send one request on a connection of its own; underscores in names of headers are dashes."""
        body = json.dumps(chat() if document is None else document).encode() if body is None else body
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.connection() as (reader, writer):
            writer.write(self.head(len(body), fields, path, method) + body)
            return await asyncio.wait_for(read_reply(reader), 30)

    async def raw(self, data: bytes) -> Reply:
        async with self.connection() as (reader, writer):
            writer.write(data)
            return await asyncio.wait_for(read_reply(reader), 30)

    @asynccontextmanager
    async def stub(self) -> AsyncIterator["exchange_pb2_grpc.ExchangeServiceAsyncStub"]:
        credentials = grpc.ssl_channel_credentials(root_certificates=self.cluster.authority.pem)
        async with grpc.aio.secure_channel(f"localhost:{self.server.ports.grpc}", credentials) as channel:
            yield exchange_pb2_grpc.ExchangeServiceStub(channel)


@asynccontextmanager
async def running_gateway(
    cluster: Cluster,
    redis: RedisProcess,
    *,
    engine: Engine | None = None,
    pool: dict[str, Any] | None = None,
    slices: list[dict[str, Any]] | None = None,
    tls: bool = False,
    wait: bool = True,
    **changes: Any,
) -> AsyncIterator[RunningGateway]:
    """Start a gateway as `__main__` does, with one engine of release `first`."""
    async with AsyncExitStack() as stack:
        engine = engine or Engine()
        await engine.start()
        stack.push_async_callback(engine.kill)
        api = ClusterApi()
        await api.put(pool or pool_document())
        for each in slices or [slice_document("one", release="first", port=engine.port)]:
            await api.put(each)
        await api.start()
        stack.push_async_callback(api.stop)
        config = gateway_config(cluster, redis, api, **changes)
        certificates = CertificateStore()
        certificates.replace(cluster.authority.issue())
        gateway = Gateway(config, certificates if tls else None)
        server = Server(
            config.service,
            [gateway.grpc_service],
            ready=gateway.ready,
            on_start=gateway.start,
            on_drain_begin=gateway.begin_drain,
            on_drain=gateway.stop,
            certificates=certificates,
        )
        await server.start()
        stack.push_async_callback(server.drain)
        if wait:
            await eventually(lambda: server.problem() is None)
        yield RunningGateway(gateway, server, cluster, api, redis, engine)
