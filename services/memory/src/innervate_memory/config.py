"""The memory service's configuration."""

from enum import StrEnum
from typing import Annotated

from innervate_service.authorization import AccessRule
from innervate_service.config import ConfigModel, ObjectName, RedisConfig, ServiceConfig
from pydantic import Field

_Seconds = Annotated[int, Field(ge=1, le=100 * 365 * 86_400)]


class Durability(StrEnum):
    """What a write waits for before it is acknowledged."""

    ALWAYS = "Always"
    """Redis has synced it to disk."""
    EVERY_SECOND = "EverySecond"
    """Redis holds it; a crash of its node may lose the last second."""


class ForgetConfig(ConfigModel):
    """What a background sweep erases, space by space."""

    max_age_seconds: _Seconds | None = None
    """Erase records put longer ago."""
    max_idle_seconds: _Seconds | None = None
    """Erase records that no Search or Get returned for so long."""
    keep_newest: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    """Never erase the newest so many of a space; alone, erase all but those."""


class RetentionConfig(ConfigModel):
    """How long records stay."""

    default_ttl_seconds: _Seconds | None = None
    """Time to live of a record put without one; null for ever."""
    forget: ForgetConfig | None = None
    """What else to erase."""


class IndexConfig(ConfigModel):
    """How much of the store each replica keeps searchable in its own memory."""

    max_spaces: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Spaces at once; the least recently searched leaves first."""
    max_records: Annotated[int, Field(ge=1, le=100_000_000)] = 500_000
    """Records at once, all spaces together (a larger single space is still searched). About 1 KB each."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads that build and search."""


class MemoryConfig(ConfigModel):
    """The whole configuration of a memory service."""

    service: ServiceConfig = ServiceConfig()
    """What every service has."""
    store: ObjectName
    """The MemoryStore it serves."""
    operator: ObjectName | None = None
    """The operator's service account: it may count the whole store."""
    redis: RedisConfig
    """Where records are kept."""
    durability: Durability = Durability.ALWAYS
    """What a write waits for; Redis must be configured alike, or the service does not get ready."""
    retention: RetentionConfig = RetentionConfig()
    """How long records stay."""
    max_records_per_space: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """A put beyond it is refused."""
    access: tuple[AccessRule, ...] = ()
    """Who may do what; without rules every account of the store's namespace owns its own space."""
    index: IndexConfig = IndexConfig()
    """Memory for searching."""
    sweep_seconds: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """Time between two rounds of the background sweep."""
