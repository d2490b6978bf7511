"""Base of every custom resource: metadata, spec, status, conditions."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Frozen, camelCase outside and snake_case inside; a field's docstring is its description.

    Unknown fields are ignored here: the operator must survive a rollback to an older version of
    itself. ``innervate plan`` refuses them.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        extra="ignore",
    )


class OwnerReference(Model):
    """The owner of an object, as Kubernetes' garbage collector reads it."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Model):
    """The part of Kubernetes' object metadata that decisions may depend on."""

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One `metav1.Condition`."""

    type: Annotated[str, Field(max_length=316)]
    """What the condition is about, in CamelCase."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Documented CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """What, why, and the next command, for people."""
    observed_generation: int = 0
    """Generation of the resource that the condition was computed from."""
    last_transition_time: datetime | None = None
    """When the status last flipped."""


class Trace(Model):
    """Where the trace of the reconcile is that first acted on the resource as it is now."""

    generation: int
    """Generation of the resource that the trace belongs to."""
    chapter: Annotated[str, Field(max_length=128)] | None = None
    """What the resource was about in that reconcile, for kinds that go through steps by themselves."""
    traceparent: Annotated[str, Field(max_length=55)]
    """W3C trace context: ``innervate trace show`` takes it as it is."""


class Status(Model):
    """What every status has."""

    observed_generation: int = 0
    """Generation of the resource that this status was computed from."""
    trace: Trace | None = None
    """Trace of this generation's first reconcile; where a kind goes through steps by itself, of this
    step's."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16)] = ()
    """Current conditions; `Ready` or `Succeeded` is derived from the others."""

    def condition(self, type_: str) -> Condition | None:
        """Condition of that type, or None."""
        return next((condition for condition in self.conditions if condition.type == type_), None)


SpecT = TypeVar("SpecT", bound=Model)
StatusT = TypeVar("StatusT", bound=Status)


class Resource(Model, Generic[SpecT, StatusT]):
    """A custom resource as it is read from the API server."""

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: SpecT
    status: StatusT | None = None
