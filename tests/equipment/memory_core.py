"""The memory service's core without gRPC, as tests and benchmarks drive it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from innervate_memory.config import Durability, ForgetConfig
from innervate_memory.connection import RedisConnection
from innervate_memory.memory import Hit, Memory
from innervate_memory.recall import Recall
from innervate_memory.records import Content, Filter, Record
from innervate_memory.store import RecordStore
from innervate_memory.upkeep import Upkeep


@dataclass
class Replica:
    """One replica: its own indexes on a shared Redis."""

    store: RecordStore
    recall: Recall
    memory: Memory
    upkeep: Upkeep
    seconds: float = 10.0

    @property
    def deadline(self) -> float:
        return asyncio.get_running_loop().time() + self.seconds

    async def put(self, space: str, *contents: Content | str) -> list[str]:
        records = [Content(text=content) if isinstance(content, str) else content for content in contents]
        return [stored.id for stored in await self.memory.put(space, records, deadline=self.deadline)]

    async def search(self, space: str, query: str, **settings: Any) -> list[Hit]:
        chosen = settings.pop("chosen", Filter())
        wanted = {"as_of": None, "limit": 100} | settings
        return await self.memory.search(space, query, chosen=chosen, deadline=self.deadline, **wanted)

    async def found(self, space: str, query: str, **settings: Any) -> list[str]:
        return [hit.record.id for hit in await self.search(space, query, **settings)]

    async def listed(self, space: str, **settings: Any) -> list[Record]:
        wanted = {"chosen": Filter(), "size": 0, "token": "", "superseded": False} | settings
        records: list[Record] = []
        while True:
            page = await self.memory.page(space, deadline=self.deadline, **wanted)
            records += page.records
            if not page.next_token:
                return records
            wanted["token"] = page.next_token

    async def close(self) -> None:
        await self.recall.close()


def replica(
    connection: RedisConnection,
    clock: Callable[[], int],
    *,
    max_records: int = 100_000,
    max_spaces: int = 100,
    indexed_records: int = 1_000_000,
    log_length: int = 10_000,
    forget: ForgetConfig | None = None,
    default_ttl: int | None = None,
    durability: Durability = Durability.ALWAYS,
) -> Replica:
    track_use = forget is not None and forget.max_idle_seconds is not None
    store = RecordStore(connection, max_records=max_records, track_use=track_use, log_length=log_length)
    recall = Recall(store, max_spaces=max_spaces, max_records=indexed_records, threads=2)
    memory = Memory(store, recall, clock=clock, default_ttl=default_ttl, track_use=track_use)
    upkeep = Upkeep(store, memory.usage, clock=clock, durability=durability, forget=forget, period=1.0)
    return Replica(store, recall, memory, upkeep)
