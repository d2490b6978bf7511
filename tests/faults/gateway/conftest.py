"""Gateways on a Redis of each test's own, which may be killed."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from gateway_process import RunningGateway, running_gateway
from memory_process import Cluster
from redis_process import RedisProcess

Start = Callable[..., AbstractAsyncContextManager[RunningGateway]]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    directory = tmp_path / "redis"
    directory.mkdir()
    process = RedisProcess(directory)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def start(redis: RedisProcess, tmp_path: Path) -> Start:
    cluster = Cluster(tmp_path / "cluster")

    @asynccontextmanager
    async def begin(**settings: Any) -> AsyncIterator[RunningGateway]:
        async with running_gateway(cluster, redis, **settings) as running:
            yield running

    return begin
