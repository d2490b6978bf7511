"""Our server of environments as in a cluster (TLS, tokens), and callers of it. Run by `serving`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import grpc
import numpy as np
from innervate_api.env.v1 import env_pb2, env_pb2_grpc
from innervate_environments.client import Credentials, VectorEnvironment
from innervate_environments.config import ServerConfig
from innervate_environments.messages import values_message
from innervate_environments.service import EnvironmentService, service_config
from innervate_service.config import load
from innervate_service.serve import run, serve
from innervate_service.tls import Certificate, CertificateStore

WARM_SECONDS = 0.5


async def _serve() -> None:
    config = load(Path(sys.argv[2]), ServerConfig)
    identity = config.service.paths.identity_directory
    certificates = CertificateStore()
    files = [(identity / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")]
    certificates.replace(Certificate(*files))
    service = EnvironmentService(config)
    await serve(
        service_config(config),
        [service.grpc_service],
        ready=service.ready,
        on_start=service.start,
        on_drain=service.stop,
        certificates=certificates,
    )


def batch(endpoint: str, credentials: Credentials, slots: int, seconds: float) -> tuple[int, float]:
    """Step so many slots of one lease together, for so long; gives steps and seconds."""
    with VectorEnvironment.open(endpoint, slots=slots, credentials=credentials) as environment:
        environment.reset(seeds=range(slots))
        actions = np.random.default_rng(0).integers(0, 2, (64, slots))
        calls, begin, end = 0, 0.0, time.perf_counter() + WARM_SECONDS
        for phase in (WARM_SECONDS, seconds):
            calls, begin = 0, time.perf_counter()
            end = begin + phase
            while time.perf_counter() < end:
                environment.step(actions[calls % 64])
                calls += 1
        return calls * slots, time.perf_counter() - begin


async def sessions(endpoint: str, credentials: Credentials, count: int, seconds: float) -> tuple[int, float]:
    """Step so many sessions of one slot, each by itself, for so long; gives steps and seconds."""
    tls = grpc.ssl_channel_credentials(credentials.authorities.read_bytes())
    metadata = (("authorization", f"Bearer {credentials.token.read_text()}"),)
    actions = [
        env_pb2.SessionRequest(step=env_pb2.StepRequest(actions=values_message(np.array([at % 2]))))
        for at in range(2)
    ]
    taken = 0
    async with grpc.aio.secure_channel(endpoint.removeprefix("grpcs://"), tls) as channel:
        stub = env_pb2_grpc.EnvironmentServiceStub(channel)
        calls = [stub.Session(timeout=3600, metadata=metadata) for _ in range(count)]

        async def begin(call: grpc.aio.StreamStreamCall) -> None:
            await call.write(env_pb2.SessionRequest(open=env_pb2.OpenRequest(slots=1, autoreset=True)))
            await call.read()
            await call.write(env_pb2.SessionRequest(reset=env_pb2.ResetRequest()))
            await call.read()

        async def go(call: grpc.aio.StreamStreamCall, until: float) -> None:
            nonlocal taken
            number = 0
            while time.perf_counter() < until:
                await call.write(actions[number % 2])
                answer = await call.read()
                assert len(answer.step.rewards) == 1
                number += 1
                taken += 1

        await asyncio.gather(*map(begin, calls))
        for phase in (WARM_SECONDS, seconds):
            taken, start = 0, time.perf_counter()
            await asyncio.gather(*(go(call, start + phase) for call in calls))
        elapsed = time.perf_counter() - start
        for call in calls:
            call.cancel()
        return taken, elapsed


def main() -> None:
    """Serve, or call: ``serve CONFIG``, ``batch|sessions ENDPOINT CA TOKEN COUNT SECONDS``."""
    if sys.argv[1] == "serve":
        run(_serve)
        return
    endpoint, authorities, token, count, seconds = sys.argv[2:]
    credentials = Credentials(Path(authorities), Path(token))
    if sys.argv[1] == "batch":
        steps, elapsed = batch(endpoint, credentials, int(count), float(seconds))
    else:
        steps, elapsed = asyncio.run(sessions(endpoint, credentials, int(count), float(seconds)))
    print(json.dumps({"steps": steps, "seconds": elapsed}))


if __name__ == "__main__":
    main()
