"""Our gateway as a process for the measurement, with the API server's part played here.

Usage: ``ours.py CONFIG ENGINE_PORT...``; it prints its port once it is ready.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from gateway_cluster import arm, pool_document, slice_document
from innervate_gateway.config import GatewayConfig
from innervate_gateway.service import Gateway, spare_collector
from innervate_service import telemetry
from innervate_service.config import load
from innervate_service.logs import configure_logs

_TRAFFIC = [arm("stable-1", "first", 90), arm("candidate-1", "second", 10, "Candidate")]
_VARIANTS = [{"name": "cpu", "engine": "LlamaCpp", "parallel": 64}]


async def main(config_file: Path, ports: list[int]) -> None:
    """Serve until killed: two arms, both releases on the same engines."""
    config = load(config_file, GatewayConfig)
    telemetry.configure(config.service.telemetry)
    gateway = Gateway(config, None)
    gateway.routes.see_pool(pool_document(traffic=_TRAFFIC, variants=_VARIANTS))
    gateway.routes.see_slices(
        slice_document(f"{release}-{port}", release=release, port=port)
        for release in ("first", "second")
        for port in ports
    )
    spare_collector()
    await gateway.start()
    while gateway.ready() is not None:  # noqa: ASYNC110  once, at the start
        await asyncio.sleep(0.05)
    print(gateway.port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    configure_logs("ERROR")
    uvloop.run(main(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
