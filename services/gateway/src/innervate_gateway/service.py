"""Puts a gateway together from its configuration."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from innervate_api.exchange.v1 import exchange_pb2_grpc
from innervate_service.auth import Identity, TokenVerifier, TrustDirectory
from innervate_service.redis import RedisConnection, RedisUse
from innervate_service.serve import Service

from innervate_gateway.admission import Admission
from innervate_gateway.callers import Access, Callers
from innervate_gateway.config import ContentPolicy
from innervate_gateway.core import Core
from innervate_gateway.endpoints import Endpoint, FileKey
from innervate_gateway.kubernetes import ApiServer, PoolFollower
from innervate_gateway.listener import Listener
from innervate_gateway.log import ExchangeLog
from innervate_gateway.readings import LogReader
from innervate_gateway.routes import RouteBook
from innervate_gateway.server import SERVICE, ExchangeServicer
from innervate_gateway.upkeep import Upkeep

if TYPE_CHECKING:
    from pathlib import Path

    import grpc
    from innervate_service.tls import CertificateStore

    from innervate_gateway.config import GatewayConfig
    from innervate_gateway.pool import Replica

_USE: Final = RedisUse(
    client="innervate-gateway",
    redis="the exchange log's Redis",
    memory_fix="raise spec.exchangeLog.redis.memory of the InferencePool, or lower retentionSeconds",
    disk_fix="raise spec.exchangeLog.redis.size of the InferencePool",
    repeat="trying again is safe",
)


def spare_collector() -> None:
    """Have Python look for garbage cycles seldom, and never among what was there at the start.

    Exchanges leave no cycles behind, so looking after every few hundred objects is work for nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def log_connection(
    *,
    host: str | None = None,
    port: int = 6379,
    url_file: Path | None = None,
    password_file: Path | None = None,
    identity_directory: Path | None = None,
) -> RedisConnection:
    """Connections to the exchange log's Redis; the parameters are those of `RedisConnection`.

    No call of the gateway has longer than it would wait for one answer.
    """
    return RedisConnection(
        use=_USE,
        host=host,
        port=port,
        url_file=url_file,
        password_file=password_file,
        identity_directory=identity_directory,
        answer_seconds=None,
    )


class Gateway:
    """A gateway with its connections and background work; needs a running event loop.

    Parameters
    ----------
    config
        Everything there is to decide.
    certificates
        The certificate to serve with; None for plain HTTP, which is for tests and measurements.
    """

    def __init__(self, config: GatewayConfig, certificates: CertificateStore | None) -> None:
        self._config = config
        loop = asyncio.get_running_loop()
        self._connection = log_connection(
            host=config.redis.host,
            port=config.redis.port,
            url_file=config.redis.url_file,
            password_file=config.redis.password_file,
            identity_directory=config.service.paths.identity_directory if config.redis.tls else None,
        )
        kept = config.exchange_log
        self.routes = RouteBook(self._endpoint)
        self.log = ExchangeLog(self._connection, feedback_seconds=kept.feedback_seconds)
        self.upkeep = Upkeep(
            self._connection, own=config.redis.url_file is None, retention_seconds=kept.retention_seconds
        )
        operator = config.operator
        access = Access(
            namespace=config.pool.namespace,
            rules=config.access,
            operator=None if operator is None else Identity(operator.namespace, operator.name),
        )
        self.core = Core(
            loop=loop,
            routes=self.routes,
            admission=Admission(
                max_concurrent=config.admission.max_concurrent, max_queue=config.admission.max_queue
            ),
            log=self.log,
            callers=Callers(TokenVerifier(TrustDirectory(config.service.paths.trust_directory)), access),
            limits=config.limits,
            content=kept.content,
            deadline_seconds=config.admission.deadline_seconds,
        )
        self._listener = Listener(self.core, certificates)
        self._servicer = ExchangeServicer(
            LogReader(
                self._connection,
                feedback_seconds=kept.feedback_seconds,
                retention_seconds=kept.retention_seconds,
                keep_expected=kept.content is ContentPolicy.FULL,
            ),
            self.routes,
            access=access,
        )
        self._keys: dict[str, FileKey] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        self.port = 0
        """Where it listens for callers; 0 before it does."""

    @property
    def grpc_service(self) -> Service:
        """What `serve` needs to know."""
        return Service(SERVICE, self._register)

    def ready(self) -> str | None:
        """Why it must not take requests; None when it may."""
        return self.upkeep.problem() or self.routes.problem()

    async def start(self) -> None:
        """Follow the pool, begin the background work, and listen. Redis and API server may come later."""
        config = self._config
        server = await self._stack.enter_async_context(ApiServer(config.kubernetes))
        follower = PoolFollower(
            server,
            namespace=config.pool.namespace,
            name=config.pool.name,
            see_pool=self.routes.see_pool,
            see_slices=self.routes.see_slices,
        )
        loop = asyncio.get_running_loop()
        self.log.start()
        self._tasks = [
            loop.create_task(follower.run(), name="pool"),
            loop.create_task(self.upkeep.run(), name="upkeep"),
        ]
        self.port = await self._listener.start(config.listen)

    def begin_drain(self) -> None:
        """Say to callers that they should come back by another connection."""
        self._listener.begin_drain()

    async def stop(self) -> None:
        """Let requests end, write what is to be written, and close everything."""
        await self._listener.stop(self._config.service.drain.grace_seconds)
        await self.log.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.routes.close()
        await self._stack.aclose()
        await self._connection.close()

    def _register(self, server: grpc.aio.Server) -> None:
        exchange_pb2_grpc.add_ExchangeServiceServicer_to_server(self._servicer, server)

    def _endpoint(self, replica: Replica) -> Endpoint:
        config = self._config
        external = replica.release is None
        name = replica.variant if external else ""
        key = self._keys.get(name)
        if key is None:
            path = config.external_key_directory / name / "key" if external else config.engine_key_file
            key = self._keys[name] = FileKey(path, clock=asyncio.get_running_loop().time)
        return Endpoint(replica, key=key, connect_seconds=config.limits.connect_seconds)
