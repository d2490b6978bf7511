"""Start the memory service: ``python3 -m innervate_memory``."""

from innervate_service.config import config_path, load
from innervate_service.serve import run, serve

from innervate_memory.config import MemoryConfig
from innervate_memory.service import MemoryService


async def _serve() -> None:
    config = load(config_path(), MemoryConfig)
    service = MemoryService(config)
    await serve(
        config.service,
        [service.grpc_service],
        ready=service.ready,
        on_start=service.start,
        on_drain=service.stop,
    )


def main() -> None:
    """Serve until told to stop."""
    run(_serve)


if __name__ == "__main__":
    main()
