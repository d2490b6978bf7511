"""Start a gateway: ``python3 -m innervate_gateway``."""

from __future__ import annotations

from innervate_service.config import config_path, load
from innervate_service.serve import run, serve
from innervate_service.tls import CertificateStore

from innervate_gateway.config import GatewayConfig
from innervate_gateway.service import Gateway, spare_collector


async def _serve() -> None:
    config = load(config_path(), GatewayConfig)
    # One certificate for both listeners.
    certificates = CertificateStore()
    gateway = Gateway(config, certificates)
    spare_collector()
    await serve(
        config.service,
        [gateway.grpc_service],
        ready=gateway.ready,
        on_start=gateway.start,
        on_drain_begin=gateway.begin_drain,
        on_drain=gateway.stop,
        certificates=certificates,
    )


def main() -> None:
    """Serve until told to stop."""
    run(_serve)


if __name__ == "__main__":
    main()
