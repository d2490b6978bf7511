"""What a room hands to runtime."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from innervate_kinds.api.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from innervate_kinds.api.kind import Kind, Reference
    from innervate_kinds.api.plan import Config, Failure, Plan
    from innervate_kinds.api.reader import AnyProbe, ProbeResult, Reader
    from innervate_kinds.api.resource import Status

ResourceT = TypeVar("ResourceT", bound=Resource[Any, Any])
ObservedT = TypeVar("ObservedT")


class Scope(Enum):
    """Which objects of a kind are watched."""

    OWNED = "owned"
    """Only those that carry our owner label, whole."""
    ALL = "all"
    """All of them, whole: for few and small objects such as Nodes."""
    METADATA = "metadata"
    """All of them, metadata only."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A kind that a room reads.

    Parameters
    ----------
    kind
        The kind.
    scope
        Which of its objects, and how much of each.
    optional
        Whether the cluster may lack the kind, or lose it.
    """

    kind: Kind
    scope: Scope
    optional: bool = False


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One RBAC rule the operator needs for a room beyond what its children and watches imply."""

    groups: tuple[str, ...]
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule.

    Parameters
    ----------
    path
        Where it holds, in JSON names below the resource: ``spec.storage``; empty for the whole resource.
    rule
        The expression.
    message
        Names the field, the value and the fix.
    holds
        The same rule in Python: takes the resource and, on a change, the one before (else None).
        What has no resource before it holds for transition rules.
    """

    path: str
    rule: str
    message: str
    holds: Callable[[Any, Any | None], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """What the CRD says besides the schema."""

    kind: Kind
    short_names: tuple[str, ...]
    description: str
    columns: tuple[Column, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Room(Generic[ResourceT, ObservedT]):
    """A kind and the pure functions that decide for it.

    Parameters
    ----------
    definition
        The kind and its CRD.
    model
        Class that the resource is read into.
    children
        Kinds it applies.
    ensured
        Kinds it only creates (Secrets), never reads.
    watches
        Kinds it reads besides its children.
    rules
        Further permissions of the operator.
    references
        Objects whose change must wake this resource; a Reference with an empty name stands for
        every object of its kind.
    probes
        What to ask the running service; empty while there is nothing to ask.
    observe
        Gathers all that a decision may depend on.
    plan
        Decides; may raise `Rejected` or `Retryable`.
    status
        Tells; conditions come back unstamped (runtime merges times and generation, and sets `trace`).
    acts_on
        JSON names of the status fields that `plan` acts on: a change of them is written at once, and
        then the resource is visited again.
    chapter
        What the resource is about, by its status in JSON: with another chapter begins another trace.
    undo
        Children outside the namespace to delete before the finalizer is released; None where there
        is nothing to undo, and then there is no finalizer.
    """

    definition: Definition
    model: type[ResourceT]
    children: tuple[Kind, ...]
    observe: Callable[[ResourceT, Reader, Mapping[str, ProbeResult]], ObservedT]
    plan: Callable[[ResourceT, ObservedT, Config, datetime], Plan]
    status: Callable[[ResourceT, ObservedT, Plan, Sequence[Failure], datetime], Status]
    ensured: tuple[Kind, ...] = ()
    watches: tuple[Watch, ...] = ()
    rules: tuple[PolicyRule, ...] = ()
    references: Callable[[ResourceT], Sequence[Reference]] = lambda _: ()
    probes: Callable[[ResourceT, ObservedT], Sequence[AnyProbe]] = lambda _resource, _observed: ()
    acts_on: tuple[str, ...] = ()
    chapter: Callable[[Mapping[str, Any]], str] = lambda _status: ""
    undo: Callable[[ResourceT, ObservedT], Sequence[Reference]] | None = None

    @property
    def kind(self) -> Kind:
        """The room's kind."""
        return self.definition.kind
