"""What a user declares as a ComputePool, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Column, Definition, Rule
from innervate_kinds.api.scheduling import Labels, LabelSelector, SelectorOperator, Toleration

COMPUTE_POOL = Kind(GROUP, VERSION, "ComputePool", "computepools", namespaced=False)


class PoolClass(StrEnum):
    """What the nodes of a pool are for."""

    GPU = "gpu"
    CPU = "cpu"
    EDGE = "edge"


class Connectivity(StrEnum):
    """How well the nodes of a pool are connected to the control plane."""

    CONNECTED = "Connected"
    INTERMITTENT = "Intermittent"


class Accelerator(Model):
    """The accelerator every node of a pool has."""

    resource: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
            max_length=253,
        ),
    ]
    """Extended resource that the device plugin advertises, such as `nvidia.com/gpu`."""
    count: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    """How many of it a node must have to be counted as ready."""


class ComputePoolSpec(Model):
    """Which nodes make up the pool, what they cost, and who may use them."""

    class_: Annotated[PoolClass, Field(alias="class")]
    """What the nodes are for: `gpu`, `cpu` or `edge`."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels that a node must carry to belong to the pool; empty means every node."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints of the pool's nodes that pods placed here tolerate."""
    accelerator: Accelerator | None = None
    """Accelerator that each node of the pool has; left out when there is none."""
    cost_per_hour: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,6})?$", max_length=16)] = "0"
    """Price of one node for one hour, a decimal such as `"2.49"`, in whatever currency you account in."""
    connectivity: Connectivity = Connectivity.CONNECTED
    """`Intermittent` for nodes that lose the control plane at times: pods stay on them meanwhile."""
    allowed_namespaces: LabelSelector | None = None
    """Namespaces whose workloads may be placed here, by their labels; left out, all of them."""


class ComputePoolStatus(Status):
    """What the operator knows about the pool's nodes."""

    nodes: Annotated[int, Field(strict=True, ge=0)] = 0
    """Nodes that belong to the pool."""
    ready_nodes: Annotated[int, Field(strict=True, ge=0)] = 0
    """Nodes of the pool that are ready, accept pods and have the accelerator."""
    allocatable: Annotated[dict[str, Annotated[str, Field(max_length=32)]], Field(max_length=8)] | None = None
    """What the ready nodes offer to pods together: cores, bytes of memory, accelerators."""
    last_contact_time: datetime | None = None
    """When the last node was lost; not set while any node is ready."""


class ComputePool(Resource[ComputePoolSpec, ComputePoolStatus]):
    """A class of nodes: which they are, what they cost, who may use them."""


def _selector_is_complete(pool: ComputePool) -> bool:
    selector = pool.spec.allowed_namespaces
    with_values = (SelectorOperator.IN, SelectorOperator.NOT_IN)
    return selector is None or all(
        (requirement.operator in with_values) == bool(requirement.values)
        for requirement in selector.match_expressions
    )


DEFINITION = Definition(
    kind=COMPUTE_POOL,
    short_names=("cpool",),
    description="ComputePool is a class of nodes that workloads are placed on: which nodes they are, "
    "what they cost, and which namespaces may use them.",
    columns=(
        Column("Class", ".spec.class"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Nodes", ".status.nodes", "integer"),
        Column("Ready-Nodes", ".status.readyNodes", "integer"),
        Column("Cost/h", ".spec.costPerHour"),
        Column("Connectivity", ".spec.connectivity", priority=1),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Rule(
            path="spec.allowedNamespaces.matchExpressions[]",
            rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            message="operators In and NotIn need values, Exists and DoesNotExist take none",
            holds=lambda pool, _old: _selector_is_complete(pool),
        ),
    ),
)
