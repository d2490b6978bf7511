"""A real memory service, with a real Redis, TLS and tokens, in a thread beside the test."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from command import command
from innervate import MemoryClient, Retry
from memory_process import Cluster, memory_config, running_memory
from redis_process import RedisProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from command import Innervate


@dataclass
class Service:
    """A memory service that a test may stop and start again on the same port."""

    cluster: Cluster
    redis: RedisProcess
    port: int = field(default_factory=free_port)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def endpoint(self) -> str:
        return f"grpcs://localhost:{self.port}"

    def token(self, account: str = "agent") -> str:
        return self.cluster.metadata(account)[0][1].removeprefix("Bearer ")

    def start(self) -> None:
        self._stop = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(started),))
        self._thread.start()
        assert started.wait(30), "the memory service did not start"

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    async def _serve(self, started: threading.Event) -> None:
        password_file = self.redis.password_file
        config = memory_config(self.cluster, port=self.redis.port, password_file=password_file, tls=False)
        service = config.service.model_copy(update={"listen": f"localhost:{self.port}"})
        async with running_memory(config.model_copy(update={"service": service}), self.cluster):
            started.set()
            await self._stop.wait()


@pytest.fixture(scope="session")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory: Path = tmp_path_factory.mktemp("memory-service")
    redis = RedisProcess(directory)
    redis.start()
    service = Service(Cluster(directory / "cluster"), redis)
    service.start()
    yield service
    service.stop()
    redis.stop()


@pytest.fixture
def service(shared_service: Service) -> Service:
    """The service; run again when an earlier test left it stopped."""
    if not shared_service._thread.is_alive():
        shared_service.start()
    return shared_service


def account_of(request: pytest.FixtureRequest) -> str:
    """Account of the test's own, so that its space is empty."""
    return f"{request.path.stem}-{request.node.name}".replace("_", "-").lower()


@pytest.fixture
def connect(service: Service, request: pytest.FixtureRequest) -> Callable[..., MemoryClient]:
    """Make a client of an account; left out, the test's own."""

    def make(account: str = account_of(request), **retry: float) -> MemoryClient:
        client = MemoryClient.connect(
            service.endpoint,
            ca=service.cluster.authority.pem,
            token=lambda: service.token(account),
            retry=Retry(**retry) if retry else None,
        )
        request.addfinalizer(client.close)
        return client

    return make


@pytest.fixture
def innervate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Innervate]:
    """Run the command without a cluster."""
    with command(monkeypatch, capsys, os.devnull) as run:
        yield run
