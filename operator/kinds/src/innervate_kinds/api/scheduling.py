"""Where pods may run and what they may use, as users write it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from innervate_kinds.api.quantity import PositiveQuantity
from innervate_kinds.api.resource import Model

if TYPE_CHECKING:
    from collections.abc import Mapping

ObjectName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        min_length=1,
        max_length=253,
    ),
]
"""Name of an object in the same namespace, or of a cluster-scoped one."""

NamespaceName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
"""Name of a namespace."""

LabelValue = Annotated[str, Field(max_length=63)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]


class SecretKeyRef(Model):
    """One key of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
    """Key in the Secret's data."""


class SecretSource(Model):
    """A value that stands in a Secret."""

    secret_key_ref: SecretKeyRef
    """Secret and key that hold the value."""


class ConfigMapKeyRef(Model):
    """One key of a ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
    """Key in the ConfigMap's data."""


class ConfigMapSource(Model):
    """A text that stands in a ConfigMap."""

    config_map_key_ref: ConfigMapKeyRef
    """ConfigMap and key that hold the text."""


class ComputePoolRef(Model):
    """A ComputePool by name."""

    name: ObjectName
    """Name of the ComputePool."""


class Placement(Model):
    """On which nodes pods run."""

    compute_pool_ref: ComputePoolRef
    """ComputePool whose nodes the pods run on."""


class ResourceAmounts(Model):
    """An amount of each compute resource."""

    cpu: PositiveQuantity | None = None
    """Cores, such as `500m` or `2`."""
    memory: PositiveQuantity | None = None
    """Bytes, such as `512Mi`."""


class Resources(Model):
    """Compute resources of one container; what is left out keeps its default."""

    requests: ResourceAmounts | None = None
    """What is reserved."""
    limits: ResourceAmounts | None = None
    """What may be used at most."""

    def over(self, defaults: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
        """Manifest form: these amounts where given, else the defaults."""
        given = self.model_dump(by_alias=True, exclude_none=True)
        return {part: {**defaults[part], **given.get(part, {})} for part in ("requests", "limits")}


class TolerationOperator(StrEnum):
    """How a toleration compares a taint's value."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Model):
    """A taint that pods put up with."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """Key of the taint; left out with operator `Exists`, every taint is tolerated."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """`Equal` compares the value, `Exists` does not."""
    value: LabelValue | None = None
    """Value of the taint, with operator `Equal`."""
    effect: TaintEffect | None = None
    """Effect of the taint; left out, every effect is tolerated."""
    toleration_seconds: Annotated[int, Field(strict=True, ge=0, le=31_536_000)] | None = None
    """How long a pod stays after a `NoExecute` taint appears; left out, for ever."""


class SelectorOperator(StrEnum):
    """How a selector compares a label."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(Model):
    """A requirement on one label."""

    key: Annotated[str, Field(min_length=1, max_length=317)]
    """Key of the label."""
    operator: SelectorOperator
    """`In`, `NotIn`, `Exists` or `DoesNotExist`."""
    values: Annotated[tuple[LabelValue, ...], Field(max_length=64)] = ()
    """Values for `In` and `NotIn`."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet the requirement."""
        present = self.key in labels
        match self.operator:
            case SelectorOperator.IN:
                return present and labels[self.key] in self.values
            case SelectorOperator.NOT_IN:
                return not present or labels[self.key] not in self.values
            case SelectorOperator.EXISTS:
                return present
            case SelectorOperator.DOES_NOT_EXIST:
                return not present


class LabelSelector(Model):
    """Selects by labels; every part must hold, and an empty selector selects everything."""

    match_labels: Labels = Field(default_factory=dict)
    """Labels that must be there with exactly these values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], Field(max_length=16)] = ()
    """Further requirements."""

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet every part."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            requirement.holds(labels) for requirement in self.match_expressions
        )
