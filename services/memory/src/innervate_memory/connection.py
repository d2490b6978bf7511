"""The connection to the store's Redis."""

from pathlib import Path
from typing import Final

from innervate_service import redis
from innervate_service.redis import Argument, Script

__all__ = ["USE", "Argument", "RedisConnection", "Script"]

USE: Final = redis.RedisUse(
    client="innervate-memory",
    redis="the store's Redis",
    memory_fix="raise spec.storage.redis.memory of the MemoryStore, or forget records",
    disk_fix="raise spec.storage.redis.size of the MemoryStore",
    repeat="trying again with the same keys is safe",
)


class RedisConnection(redis.RedisConnection):
    """Connections to the store's Redis; the parameters are those of its base."""

    def __init__(
        self,
        *,
        host: str | None = None,
        port: int = 6379,
        url_file: Path | None = None,
        password_file: Path | None = None,
        identity_directory: Path | None = None,
    ) -> None:
        super().__init__(
            use=USE,
            host=host,
            port=port,
            url_file=url_file,
            password_file=password_file,
            identity_directory=identity_directory,
        )
