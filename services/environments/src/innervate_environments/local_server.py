"""The program of a local server: ``python3 -m innervate_environments.local_server CONFIG ENDPOINT``."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import grpc
from innervate_service.admission import Admission
from innervate_service.auth import Identity
from innervate_service.calls import CallInterceptor
from innervate_service.config import load
from innervate_service.program import run

from innervate_environments.config import ServerConfig
from innervate_environments.service import EnvironmentService, service_config

_GRACE_SECONDS = 1.0


async def _serve() -> None:
    path, endpoint = sys.argv[1:]
    config = load(Path(path), ServerConfig)
    common = service_config(config)
    service = EnvironmentService(config)

    async def authenticate(token: str) -> Identity:
        del token
        return Identity(config.environment.namespace, "local")

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    interceptor = CallInterceptor(
        authenticate=authenticate,
        admission=Admission(
            max_concurrent=common.admission.max_concurrent, max_queue=common.admission.max_queue
        ),
        deadline=common.deadline,
    )
    size = common.max_message_bytes
    server = grpc.aio.server(
        interceptors=[interceptor],
        options=[
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", size),
            # Trainers that learn for minutes between two steps ask every 20 s whether it is still there.
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )
    service.grpc_service.register(server)
    try:
        await service.start()
        server.add_insecure_port(endpoint)
        await server.start()
        await stop.wait()
        await server.stop(_GRACE_SECONDS)
    finally:
        await service.stop()


if __name__ == "__main__":
    run(_serve)
