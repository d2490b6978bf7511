"""What a user declares as a MemoryStore, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Column, Definition, Rule
from innervate_kinds.api.scheduling import NamespaceName, Placement, Resources, SecretSource
from innervate_kinds.parts.redis.model import Durability, ReclaimPolicy, RedisStorage, rules

MEMORY_STORE = Kind(GROUP, VERSION, "MemoryStore", "memorystores")

Seconds = Annotated[int, Field(strict=True, ge=1, le=3_153_600_000)]
"""A duration from one second to a hundred years."""


class Permission(StrEnum):
    """What an access rule allows."""

    READ = "Read"
    WRITE = "Write"


class ExternalStorage(Model):
    """A Redis that is there already."""

    url_from: SecretSource
    """Secret that holds the URL, `rediss://user:password@host:port/0`; only the memory service reads it."""
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] = 6379
    """Port in the URL, which the network policy opens."""
    durability: Durability = Durability.EVERY_SECOND
    """What that Redis is configured to do (`appendfsync always` or `everysec`); told to clients."""


class Storage(Model):
    """Where records are kept: exactly one of `redis` and `external`."""

    redis: RedisStorage | None = None
    """A Redis of the store's own, on a volume."""
    external: ExternalStorage | None = None
    """A Redis that is there already."""


class Service(Model):
    """The memory service in front of the storage."""

    replicas: Annotated[int, Field(strict=True, ge=1, le=32)] = 2
    """Number of service pods."""
    placement: Placement | None = None
    """On which nodes the service pods run; left out, anywhere."""
    resources: Resources | None = None
    """Compute resources of each service pod."""


class Retrieval(Model):
    """How records are recalled."""

    max_records_per_space: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] = 100_000
    """Most records one space may hold; a write beyond it is refused."""


class Forget(Model):
    """Which records are erased by themselves."""

    max_age_seconds: Seconds | None = None
    """Erases records put longer ago than this."""
    max_idle_seconds: Seconds | None = None
    """Erases records not recalled for this long."""
    keep_newest: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = None
    """Never erases this many newest records of each space; given alone, erases all others."""


class Retention(Model):
    """How long records are kept."""

    default_ttl_seconds: Annotated[Seconds | None, Field(alias="defaultTTLSeconds")] = None
    """Time to live of records put without one; left out, they have none."""
    forget: Forget | None = None
    """Which records are erased by themselves; left out, none."""


class ServiceAccountSubject(Model):
    """A service account that a rule is about."""

    namespace: NamespaceName | None = None
    """Namespace of the account; left out, the store's own."""
    name: Annotated[
        str,
        Field(
            pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$",
            max_length=253,
        ),
    ]
    """Name of the account; `*` means every account of the namespace."""


SpacePattern = Annotated[
    str,
    Field(
        pattern=r"^(\*|[A-Za-z0-9][-A-Za-z0-9_.:@=+]*(/[A-Za-z0-9][-A-Za-z0-9_.:@=+]*)*(/\*)?)$",
        max_length=256,
    ),
]


class AccessRule(Model):
    """Allows service accounts to use spaces."""

    service_accounts: Annotated[tuple[ServiceAccountSubject, ...], Field(min_length=1, max_length=32)]
    """Accounts that the rule is about."""
    spaces: Annotated[tuple[SpacePattern, ...], Field(min_length=1, max_length=32)]
    """Spaces they may use: a name, all below a name (`support/*`), or all (`*`)."""
    permissions: Annotated[tuple[Permission, ...], Field(min_length=1, max_length=2)] = (
        Permission.READ,
        Permission.WRITE,
    )
    """What they may do there."""


class MemoryStoreSpec(Model):
    """Where records are kept, who may use them, and for how long."""

    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN
    """What becomes of the volume when the store is deleted."""
    storage: Storage = Field(default_factory=lambda: Storage(redis=RedisStorage()))
    """Where records are kept; left out, a small Redis of the store's own."""
    service: Service = Field(default_factory=Service)
    """The memory service in front of the storage."""
    retrieval: Retrieval = Field(default_factory=Retrieval)
    """How records are recalled."""
    retention: Retention = Field(default_factory=Retention)
    """How long records are kept."""
    access: Annotated[tuple[AccessRule, ...], Field(max_length=64)] = ()
    """Who may use which spaces. With no rule, each service account of the store's own namespace owns
    the space of its own name and those below it."""


class MemoryStoreStatus(Status):
    """What the operator knows about the store."""

    endpoint: Annotated[str, Field(max_length=300)] | None = None
    """Address of the memory service inside the cluster."""
    records: Annotated[int, Field(strict=True, ge=0)] | None = None
    """Records in all spaces, counted at `countTime`."""
    spaces: Annotated[int, Field(strict=True, ge=0)] | None = None
    """Spaces that hold records, counted at `countTime`."""
    size_bytes: Annotated[int, Field(strict=True, ge=0)] | None = None
    """Bytes that the data takes in memory, measured at `countTime`; small changes are left out."""
    count_time: datetime | None = None
    """When records, spaces and size were last counted and found changed; at most once a minute."""


class MemoryStore(Resource[MemoryStoreSpec, MemoryStoreStatus]):
    """What agents remember: records in spaces, recalled by search."""

    spec: MemoryStoreSpec = Field(default_factory=MemoryStoreSpec)


def _one_storage(store: MemoryStore) -> bool:
    return (store.spec.storage.redis is None) != (store.spec.storage.external is None)


def _same_storage(store: MemoryStore, old: MemoryStore | None) -> bool:
    return old is None or (store.spec.storage.redis is None) == (old.spec.storage.redis is None)


DEFINITION = Definition(
    kind=MEMORY_STORE,
    short_names=("mem",),
    description="MemoryStore is what agents remember: records in spaces, kept durably in Redis and "
    "recalled by search through a memory service.",
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Records", ".status.records", "integer"),
        Column("Spaces", ".status.spaces", "integer"),
        Column("Replicas", ".spec.service.replicas", "integer", priority=1),
        Column("Bytes", ".status.sizeBytes", "integer", priority=1),
        Column("Endpoint", ".status.endpoint", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Rule(
            path="spec.storage",
            rule="has(self.redis) != has(self.external)",
            message="exactly one of redis and external must be set",
            holds=lambda store, _old: _one_storage(store),
        ),
        Rule(
            path="spec.storage",
            rule="has(self.redis) == has(oldSelf.redis)",
            message="a store cannot move between redis and external; create another MemoryStore",
            holds=_same_storage,
        ),
        *rules("spec.storage.redis", lambda store: store.spec.storage.redis, what="MemoryStore"),
    ),
)
