"""Puts the memory service together from its configuration."""

import asyncio
import time

import grpc
from innervate_api.memory.v1 import memory_pb2_grpc
from innervate_service.auth import Identity
from innervate_service.authorization import Access
from innervate_service.serve import Service

from innervate_memory.config import MemoryConfig
from innervate_memory.connection import RedisConnection
from innervate_memory.memory import Memory
from innervate_memory.recall import Recall
from innervate_memory.records import MICROSECONDS
from innervate_memory.server import SERVICE, MemoryServicer
from innervate_memory.store import RecordStore
from innervate_memory.upkeep import Upkeep


def microseconds() -> int:
    """Tell the time, in microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class MemoryService:
    """A memory service with its connections and background work; needs a running event loop.

    Parameters
    ----------
    config
        Everything there is to decide.
    """

    def __init__(self, config: MemoryConfig) -> None:
        forget = config.retention.forget
        ttl = config.retention.default_ttl_seconds
        track_use = forget is not None and forget.max_idle_seconds is not None
        self._connection = RedisConnection(
            host=config.redis.host,
            port=config.redis.port,
            url_file=config.redis.url_file,
            password_file=config.redis.password_file,
            identity_directory=config.service.paths.identity_directory if config.redis.tls else None,
        )
        store = RecordStore(self._connection, max_records=config.max_records_per_space, track_use=track_use)
        self._recall = Recall(
            store,
            max_spaces=config.index.max_spaces,
            max_records=config.index.max_records,
            threads=config.index.threads,
        )
        memory = Memory(
            store,
            self._recall,
            clock=microseconds,
            default_ttl=None if ttl is None else ttl * MICROSECONDS,
            track_use=track_use,
        )
        self.upkeep = Upkeep(
            store,
            memory.usage,
            clock=microseconds,
            durability=config.durability if config.redis.url_file is None else None,
            forget=forget,
            period=config.sweep_seconds,
        )
        operator = config.operator
        self._servicer = MemoryServicer(
            memory,
            self.upkeep,
            access=Access(
                namespace=config.store.namespace,
                rules=config.access,
                operator=None if operator is None else Identity(operator.namespace, operator.name),
            ),
            store=f"{config.store.namespace}/{config.store.name}",
            durability=config.durability,
            deadline=config.service.deadline,
            max_message_bytes=config.service.max_message_bytes,
        )
        self._rounds: asyncio.Task[None] | None = None

    @property
    def grpc_service(self) -> Service:
        """What `serve` needs to know."""
        return Service(SERVICE, self._register)

    def ready(self) -> str | None:
        """Why it must not take calls; None when it may."""
        return self.upkeep.problem()

    async def start(self) -> None:
        """Begin the background work; Redis may come later."""
        self._rounds = asyncio.create_task(self.upkeep.run(), name="upkeep")

    async def stop(self) -> None:
        """End the background work and close the connections."""
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
        await self._recall.close()
        await self._connection.close()

    def _register(self, server: grpc.aio.Server) -> None:
        memory_pb2_grpc.add_MemoryServiceServicer_to_server(self._servicer, server)
