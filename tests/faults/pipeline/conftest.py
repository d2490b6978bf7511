"""Pipelines on etcd and an API server, run by the real engine; pools, releases and jobs are played.

What is played goes the real way: rooms of the real kinds tell what a test decides, through the engine and the
API server, and the gateway is a real gRPC server that answers by the pool's traffic as it stands there.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from fault_plane import install
from innervate_api.exchange.v1 import exchange_pb2, exchange_pb2_grpc
from innervate_kinds.api import conditions
from innervate_kinds.api.kind import Reference
from innervate_kinds.api.plan import Plan
from innervate_kinds.eval_job.model import EvalJobStatus
from innervate_kinds.eval_job.room import ROOM as EVAL_JOB_ROOM
from innervate_kinds.inference_pool.model import INFERENCE_POOL, InferencePoolStatus, Routes
from innervate_kinds.inference_pool.room import ROOM as POOL_ROOM
from innervate_kinds.learning_pipeline.room import ROOM as PIPELINE_ROOM
from innervate_kinds.model_release.model import ModelReleaseStatus
from innervate_kinds.model_release.room import ROOM as RELEASE_ROOM
from innervate_local.control_plane import ControlPlane
from innervate_operator import credentials
from innervate_operator.client import Client, Open, Transport
from innervate_operator.clock import SystemClock
from innervate_operator.engine import Engine
from innervate_operator.identity import authority
from innervate_operator.identity.server import IdentityAuthority, IdentitySettings
from innervate_operator.settings import Settings
from operator_config import config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from innervate_kinds.api.room import Room

POLL_SECONDS = 0.2
SESSIONS = 1000
"""Sessions that come between two questions to the gateway."""
RATES = {"sound": 0.8, "better": 0.95, "worse": 0.3}
"""Share of successes by release."""


class Crash(BaseException):
    """The process is gone."""


def written(verb: str, reference: Reference, body: Any) -> str:
    """Name of a write, by what it decides or does: the same in every run, however fast the machine."""
    if reference.kind == INFERENCE_POOL and verb == "apply" and "spec" in body:
        return "traffic " + "/".join(str(arm["weight"]) for arm in body["spec"]["traffic"])
    status = body.get("status") or {}
    if reference.kind == PIPELINE_ROOM.kind and status:
        step = status.get("step") or {"name": "at rest"}
        place = f"{step['name']} {step.get('percent', 0)}" if "percent" in step else step["name"]
        return f"status of rollout {status['rollout']}: {place}, {len(status['history'])} in history"
    return f"{verb} {reference.kind.kind} {reference.name}"


@dataclass
class Fate:
    """What becomes of the processes of one namespace, one after another.

    Parameters
    ----------
    before
        Whether each write is one that a process died right before, or right after, when it first came; None
        where nobody dies.
    writes
        The writes that came.
    count
        How many there were, repeated ones included.
    """

    before: bool | None = None
    writes: set[str] = field(default_factory=set)
    count: int = 0


FATES: dict[Transport, Fate] = {}


class MortalClient(Client):
    """The client of a process that dies right before or right after one of the pipeline's writes.

    Each write has a name; when it comes again, the next process lives on.
    """

    __slots__ = ()

    async def write(self, verb: str, method: str, reference: Reference, **rest: Any) -> Any:
        name = written(verb, reference, rest["body"])
        fate = FATES[self.transport]
        played = name.startswith("apply ") and "status" in rest["body"]
        if reference.kind.kind == "Event" or played:
            return await super().write(verb, method, reference, **rest)
        first = name not in fate.writes
        fate.writes.add(name)
        fate.count += 1
        if first and fate.before is True:
            raise Crash
        answer = await super().write(verb, method, reference, **rest)
        if first and fate.before is False:
            raise Crash
        return answer


class Gateway(exchange_pb2_grpc.ExchangeServiceServicer):
    """One pool's gateway: serves the traffic that the API server has, and gets feedback on it."""

    def __init__(self, admin: Client, namespace: str) -> None:
        self._admin = admin
        self._pool = Reference(INFERENCE_POOL, namespace, "pool")
        self._counts: dict[str, list[int]] = {}
        self.port = 0

    async def Routes(self, request: Any, context: Any) -> Any:  # noqa: N802 -- gRPC's name
        del request, context
        routes = [exchange_pb2.Route(arm=arm["name"], ready_replicas=1) for arm in await self._arms()]
        return exchange_pb2.RoutesResponse(routes=routes)

    async def Outcomes(self, request: Any, context: Any) -> Any:  # noqa: N802 -- gRPC's name
        del context
        for arm in await self._arms():
            count = self._counts.setdefault(arm["name"], [0, 0])
            units = SESSIONS * arm["weight"] // 100
            count[0] += units
            count[1] += round(units * RATES[arm["releaseRef"]["name"]])
        answer = [
            exchange_pb2.ArmOutcomes(arm=arm, units=units, successes=successes)
            for arm, (units, successes) in self._counts.items()
            if arm in request.arms
        ]
        return exchange_pb2.OutcomesResponse(arms=answer)

    async def _arms(self) -> list[Any]:
        pool = await self._admin.get(self._pool)
        found: list[Any] = (pool or {}).get("spec", {}).get("traffic") or []
        return found


SIGNER = IdentityAuthority(authority.create(datetime.now(UTC), IdentitySettings().policy), IdentitySettings())


@contextlib.asynccontextmanager
async def gateway(admin: Client, namespace: str) -> AsyncIterator[Gateway]:
    """The gateway of a namespace's pool; it outlives operators."""
    made = Gateway(admin, namespace)
    certificate = SIGNER.issue_own()
    server = grpc.aio.server()
    exchange_pb2_grpc.add_ExchangeServiceServicer_to_server(made, server)
    made.port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
    )
    await server.start()
    yield made
    await server.stop(0)


def played(room: Room[Any, Any], status: Callable[[Any], Any]) -> Room[Any, Any]:
    """A room of a real kind that makes nothing, and tells what it is told to."""
    return replace(
        room,
        children=(),
        ensured=(),
        watches=(),
        rules=(),
        references=lambda _: (),
        probes=lambda _resource, _observed: (),
        observe=lambda _resource, _reader, _probes: None,
        plan=lambda _resource, _observed, _config, _now: Plan(),
        status=lambda resource, _observed, _plan, _failures, _now: status(resource),
        undo=None,
    )


def pool_status(pool: Any) -> InferencePoolStatus:
    """Every gateway serves what it was told at once."""
    generation = pool.metadata.generation
    return InferencePoolStatus(
        routes=Routes(generation=generation, acknowledged=generation),
        conditions=(conditions.true("Ready", "Played"),),
    )


def release_status(_release: Any) -> ModelReleaseStatus:
    """Every release is what it should be."""
    return ModelReleaseStatus(verified=True, conditions=(conditions.true("Verified", "Verified"),))


def job_status(job: Any) -> EvalJobStatus:
    """Everything passes but release `refused`."""
    verdict = "Failed" if job.spec.target.release_ref.name == "refused" else "Passed"
    return EvalJobStatus(
        verdict=verdict,
        end_time=datetime(2026, 1, 1, tzinfo=UTC),
        conditions=(conditions.true("Succeeded", "Completed"),),
    )


def rooms(port: int) -> list[Room[Any, Any]]:
    """The pipeline's room as it is, its gateway at a port, and the rooms around it, played."""

    def probes(resource: Any, observed: Any) -> Any:
        return [
            replace(probe, target=f"localhost:{port}") for probe in PIPELINE_ROOM.probes(resource, observed)
        ]

    return [
        replace(PIPELINE_ROOM, probes=probes),
        played(POOL_ROOM, pool_status),
        played(RELEASE_ROOM, release_status),
        played(EVAL_JOB_ROOM, job_status),
    ]


@contextlib.asynccontextmanager
async def process(
    plane: ControlPlane, served: Gateway, namespace: str, fate: Fate
) -> AsyncIterator[asyncio.Task[None]]:
    """One life of an operator for one namespace; the task ends when it dies."""
    transport = Transport(credentials.load(plane.kubeconfig))
    FATES[transport] = fate
    settings = config()
    engine = Engine(
        MortalClient(transport, Open()),
        rooms(served.port),
        Settings(namespace="default", watch_namespaces=(namespace,), workers=2),
        clock=SystemClock(),
        config=lambda: replace(settings, trust=replace(settings.trust, ca_bundle=SIGNER.state.bundle)),
        doubt_seconds=0.5,
    )

    async def follow() -> None:
        while True:
            await engine.own.fill()
            await asyncio.sleep(POLL_SECONDS)

    tasks = [asyncio.create_task(engine.reflect())]
    await engine.fill()
    tasks.append(asyncio.create_task(follow()))
    await engine.synced()
    work = asyncio.create_task(engine.work())
    try:
        yield work
    finally:
        for task in (*tasks, work):
            task.cancel()
        await asyncio.gather(*tasks, work, return_exceptions=True)
        await engine.prober.close()
        del FATES[transport]
        await transport.close()


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with our kinds."""

    with ControlPlane(tmp_path_factory.mktemp("faults-pipeline")) as running:
        asyncio.run(install(running))
        yield running


@pytest.fixture
def operate() -> Any:
    return process


@pytest.fixture
def serve() -> Any:
    return gateway


@pytest.fixture
def fate() -> type[Fate]:
    return Fate
