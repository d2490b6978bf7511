"""A real Redis for all tests of this folder; each test starts with it empty."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from innervate_memory.connection import RedisConnection
from memory_core import Replica, replica
from redis_process import RedisProcess


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += int(seconds * 1_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def connection(redis_process: RedisProcess) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(
        host="127.0.0.1", port=redis_process.port, password_file=redis_process.password_file
    )
    deadline = asyncio.get_running_loop().time() + 10
    await connection.command("FLUSHALL", deadline=deadline)
    yield connection
    await connection.close()


@pytest.fixture
async def make(connection: RedisConnection, clock: Clock) -> AsyncIterator[Callable[..., Replica]]:
    """Make replicas on the shared Redis."""
    made: list[Replica] = []

    def one(**settings: Any) -> Replica:
        made.append(replica(connection, clock, **settings))
        return made[-1]

    yield one
    for each in made:
        await each.close()
