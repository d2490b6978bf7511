"""What a user declares as an InferencePool, and what is told of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.network import PORT
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Column, Definition
from innervate_kinds.api.scheduling import NamespaceName, Placement, Resources, SecretSource
from innervate_kinds.inference_pool.rules import RULES
from innervate_kinds.parts.redis.model import ReclaimPolicy, RedisStorage

INFERENCE_POOL = Kind(GROUP, VERSION, "InferencePool", "inferencepools")

Label = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
VariantName = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=20)]
ReleaseName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        min_length=1,
        max_length=63,
    ),
]
ModelName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.:@/]*[A-Za-z0-9])?$", min_length=1, max_length=128)
]
Replicas = Annotated[int, Field(strict=True, ge=1, le=32)]
Retention = Annotated[int, Field(strict=True, ge=60, le=315_360_000)]


class Engine(StrEnum):
    """What answers requests."""

    LLAMA_CPP = "LlamaCpp"
    EXTERNAL = "External"


class Role(StrEnum):
    """What an arm is for."""

    STABLE = "Stable"
    CANDIDATE = "Candidate"


class Content(StrEnum):
    """What the exchange log keeps of the bodies of requests and responses."""

    NONE = "None"
    DIGEST = "Digest"
    FULL = "Full"


class Routing(StrEnum):
    """How a gateway chooses among the engines of a release."""

    LEAST_LOAD = "LeastLoad"


class ReleaseRef(Model):
    """A ModelRelease of the same namespace by name."""

    name: ReleaseName
    """Name of the ModelRelease, of at most 63 characters."""


class ServedModel(Model):
    """The model as callers know it."""

    name: ModelName
    """What callers put into the field `model` of their requests."""
    release_ref: ReleaseRef | None = None
    """Release that is served while `spec.traffic` is empty, as an arm named `stable`; left out where
    every variant is External."""


class External(Model):
    """An OpenAI-compatible server that is there already."""

    url: Annotated[
        str,
        Field(
            pattern=rf"^https?://[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?{PORT}(/[-A-Za-z0-9._~/]*)?$",
            max_length=2048,
        ),
    ]
    """Base address, up to and without `/v1`."""
    model: ModelName
    """Name that the server knows its model by; requests are sent with it."""
    api_key: SecretSource | None = None
    """Secret with the key that is sent as `Authorization: Bearer`; only the gateway reads it."""


class Variant(Model):
    """One way in which the model is served."""

    name: VariantName
    """Name of the variant, unique in the pool."""
    engine: Engine
    """`LlamaCpp`: a llama.cpp server in pods of the pool's own, which loads the release's
    `model.gguf`. `External`: a server that is there already."""
    replicas: Replicas = 1
    """Engine pods for each release that is served; of no meaning for an External variant."""
    placement: Placement | None = None
    """On which nodes the engine pods run; left out, anywhere."""
    resources: Resources | None = None
    """Compute resources of each engine pod; an engine uses as many threads as its limit has cores."""
    parallel: Annotated[int, Field(strict=True, ge=1, le=64)] = 4
    """Requests that one engine pod works on at the same time."""
    context_size: Annotated[int, Field(strict=True, ge=16, le=1_048_576)] = 2048
    """Tokens of context that each of these requests has at most, the model's own limit aside."""
    external: External | None = None
    """The server, with engine `External`."""


class Admission(Model):
    """How many requests each gateway pod takes, and for how long."""

    max_concurrent: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 64
    """Requests that are worked on at the same time, in each gateway pod."""
    max_queue: Annotated[int, Field(strict=True, ge=0, le=100_000)] = 256
    """Requests that may wait for one of those places; more are answered 429."""
    deadline_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60
    """Longest time that a request may take, waiting included. A pod that leaves gets as much time to
    finish what it has begun."""


class Gateway(Model):
    """The gateway in front of the engines."""

    replicas: Replicas = 2
    """Number of gateway pods."""
    placement: Placement | None = None
    """On which nodes the gateway pods run; left out, anywhere."""
    resources: Resources | None = None
    """Compute resources of each gateway pod."""
    admission: Admission = Field(default_factory=Admission)
    """How many requests each gateway pod takes, and for how long."""
    routing: Routing = Routing.LEAST_LOAD
    """How an engine is chosen among those of a release: the one with the fewest requests."""


class Arm(Model):
    """A share of the traffic, and the release that serves it."""

    name: Label
    """Name of the arm, unique in the pool; what is counted of an arm is counted under its name, so a
    new roll-out takes new names."""
    release_ref: ReleaseRef
    """Release that serves the arm."""
    weight: Annotated[int, Field(strict=True, ge=0, le=100)]
    """Percent of sessions, and of requests without one, that go to the arm. An arm of weight 0 serves
    requests that name its release."""
    role: Role
    """`Stable` for the release that is trusted, of which there is exactly one arm; `Candidate` for one
    that is tried."""


class ExchangeLog(Model):
    """The record of every request that was answered, and of the feedback to it."""

    redis: RedisStorage = Field(default_factory=RedisStorage)
    """The Redis of the log's own, on a volume."""
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN
    """What becomes of the volume when the pool is deleted."""
    retention_seconds: Retention = 604_800
    """How long an exchange is kept."""
    feedback_seconds: Retention = 86_400
    """How long after an exchange feedback to it is taken."""
    content: Content = Content.DIGEST
    """What is kept of the bodies: nothing, their SHA-256, or all of them."""


class ServiceAccountSubject(Model):
    """A service account that a rule is about."""

    namespace: NamespaceName | None = None
    """Namespace of the account; left out, the pool's own."""
    name: Annotated[
        str,
        Field(
            pattern=r"^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$",
            max_length=253,
        ),
    ]
    """Name of the account; `*` means every account of the namespace."""


class AccessRule(Model):
    """Allows service accounts to use the pool."""

    service_accounts: Annotated[tuple[ServiceAccountSubject, ...], Field(min_length=1, max_length=32)]
    """Accounts that may send requests and feedback."""


class InferencePoolSpec(Model):
    """What is served, by which engines, to whom, and in which shares."""

    model: ServedModel
    """The model as callers know it."""
    variants: Annotated[tuple[Variant, ...], Field(min_length=1, max_length=8)]
    """The ways in which the model is served."""
    gateway: Gateway = Field(default_factory=Gateway)
    """The gateway in front of the engines."""
    traffic: Annotated[tuple[Arm, ...], Field(max_length=8)] = ()
    """How requests are shared among releases; left out, `spec.model.releaseRef` serves all of them. A
    LearningPipeline that names the pool writes this field whole."""
    exchange_log: ExchangeLog = Field(default_factory=ExchangeLog)
    """The record of every request that was answered."""
    access: Annotated[tuple[AccessRule, ...], Field(max_length=64)] = ()
    """Who may use the pool. With no rule, every service account of the pool's own namespace."""


class Routes(Model):
    """How far a change of the pool has come."""

    generation: Annotated[int, Field(strict=True, ge=0)]
    """Generation of the pool that the gateways are to serve."""
    acknowledged: Annotated[int, Field(strict=True, ge=0)]
    """Generation that every ready gateway pod serves, at least."""


class VariantStatus(Model):
    """The engines of one variant."""

    name: VariantName
    """Name of the variant."""
    replicas: Annotated[int, Field(strict=True, ge=0)]
    """Engine pods that are wanted, over all releases."""
    ready: Annotated[int, Field(strict=True, ge=0)]
    """Engine pods that take requests."""


class InferencePoolStatus(Status):
    """What the operator knows about the pool."""

    endpoint: Annotated[str, Field(max_length=300)] | None = None
    """Address of the gateway inside the cluster."""
    release: Annotated[str, Field(max_length=63)] | None = None
    """Release of the stable arm."""
    routes: Routes | None = None
    """How far the latest change has come to the gateways."""
    variants: Annotated[tuple[VariantStatus, ...], Field(max_length=8)] = ()
    """The engines, by variant."""


class InferencePool(Resource[InferencePoolSpec, InferencePoolStatus]):
    """A model, served."""

    def arms(self) -> tuple[Arm, ...]:
        """Arms by which requests are shared: the declared ones, or the one that bootstraps the pool."""
        release = self.spec.model.release_ref
        if self.spec.traffic or release is None:
            return self.spec.traffic
        return (Arm(name="stable", release_ref=release, weight=100, role=Role.STABLE),)


DEFINITION = Definition(
    kind=INFERENCE_POOL,
    short_names=("ipool",),
    description="InferencePool serves a model: engines that load its releases, and a gateway that speaks "
    "OpenAI's API, shares requests among releases and keeps a record of each.",
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Model", ".spec.model.name"),
        Column("Release", ".status.release"),
        Column("Generation", ".status.routes.generation", "integer", priority=1),
        Column("Acknowledged", ".status.routes.acknowledged", "integer", priority=1),
        Column("Endpoint", ".status.endpoint", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=RULES,
)
