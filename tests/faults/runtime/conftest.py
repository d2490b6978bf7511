"""etcd, API server and controller manager, without nodes; engines that die at a chosen write."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from fault_plane import eventually, install
from innervate_local.control_plane import ControlPlane
from innervate_operator import credentials
from innervate_operator.client import Client, Open, Transport
from innervate_operator.clock import SystemClock
from innervate_operator.engine import Engine
from innervate_operator.settings import Settings
from operator_config import config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from innervate_kinds.api.kind import Reference
    from innervate_kinds.api.room import Room

POLL_SECONDS = 0.2


class Crash(BaseException):
    """The process is gone."""


class MortalClient(Client):
    """The client of a process that dies right before or right after one of its writes."""

    __slots__ = ()

    async def write(self, verb: str, method: str, reference: Reference, **rest: Any) -> Any:
        if reference.kind.kind == "Event":
            return await super().write(verb, method, reference, **rest)
        fate = FATES[self.transport]
        written = f"{verb} {reference.kind.kind} {reference.name}"
        fate.writes.append(written)
        if written == fate.dies_at and fate.before:
            raise Crash
        answer = await super().write(verb, method, reference, **rest)
        if written == fate.dies_at:
            raise Crash
        return answer


class Fate:
    """What becomes of one process."""

    def __init__(self, dies_at: str | None, *, before: bool) -> None:
        self.dies_at = dies_at
        self.before = before
        self.writes: list[str] = []


FATES: dict[Transport, Fate] = {}


@contextlib.asynccontextmanager
async def process(
    plane: ControlPlane,
    room: Room[Any, Any],
    namespace: str,
    *,
    dies_at: str | None = None,
    before: bool = True,
) -> AsyncIterator[tuple[asyncio.Task[None], Fate]]:
    """One life of an operator for one namespace; the task ends when it dies."""
    transport = Transport(credentials.load(plane.kubeconfig))
    fate = FATES[transport] = Fate(dies_at, before=before)
    engine = Engine(
        MortalClient(transport, Open()),
        [room],
        Settings(namespace="default", watch_namespaces=(namespace,), workers=2),
        clock=SystemClock(),
        config=config,
        doubt_seconds=0.5,
    )

    async def follow() -> None:
        while True:
            await engine.own.fill()
            await engine.own.confirm()
            await asyncio.sleep(POLL_SECONDS)

    tasks = [asyncio.create_task(engine.reflect())]
    await engine.fill()
    tasks.append(asyncio.create_task(follow()))
    await engine.synced()
    work = asyncio.create_task(engine.work())
    try:
        yield work, fate
    finally:
        for task in (*tasks, work):
            task.cancel()
        await asyncio.gather(*tasks, work, return_exceptions=True)
        await engine.prober.close()
        del FATES[transport]
        await transport.close()


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane whose garbage collector and workload controllers run; our CRDs are installed."""

    with ControlPlane(tmp_path_factory.mktemp("faults"), controller_manager=True) as running:
        asyncio.run(install(running))
        yield running


@pytest.fixture
def wait() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def operate() -> Any:
    return process
