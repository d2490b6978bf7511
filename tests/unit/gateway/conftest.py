"""A real Redis for all tests of this folder, and gateways on it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gateway_process import RunningGateway, running_gateway
from innervate_gateway.service import log_connection
from innervate_service.redis import RedisConnection
from memory_process import Cluster
from redis_process import RedisProcess

Start = Callable[..., AbstractAsyncContextManager[RunningGateway]]


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    process.start()
    yield process
    process.stop()


@pytest.fixture
async def connection(redis_process: RedisProcess) -> AsyncIterator[RedisConnection]:
    connection = log_connection(
        host="127.0.0.1", port=redis_process.port, password_file=redis_process.password_file
    )
    await connection.command("FLUSHALL", deadline=1e12)
    yield connection
    await connection.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "cluster")


@pytest.fixture
def start(cluster: Cluster, redis_process: RedisProcess, connection: RedisConnection) -> Start:
    """Start gateways; each test begins with an empty log."""
    del connection

    @asynccontextmanager
    async def begin(**settings: Any) -> AsyncIterator[RunningGateway]:
        async with running_gateway(cluster, redis_process, **settings) as running:
            yield running

    return begin
