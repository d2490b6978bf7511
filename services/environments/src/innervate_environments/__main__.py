"""Serve an environment: ``python3 -m innervate_environments``."""

from innervate_service.config import config_path, load
from innervate_service.serve import run, serve

from innervate_environments.config import ServerConfig
from innervate_environments.service import EnvironmentService, service_config


async def _serve() -> None:
    config = load(config_path(), ServerConfig)
    service = EnvironmentService(config)
    await serve(
        service_config(config),
        [service.grpc_service],
        ready=service.ready,
        on_start=service.start,
        on_drain_begin=service.drain,
        on_drain=service.stop,
    )


def main() -> None:
    """Serve until told to stop."""
    run(_serve)


if __name__ == "__main__":
    main()
