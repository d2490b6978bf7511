"""What a user declares as an RLRun."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.quantity import PositiveQuantity
from innervate_kinds.api.resource import Model, Resource
from innervate_kinds.api.room import Column, Definition, Rule
from innervate_kinds.api.scheduling import ObjectName, Placement, Resources, SecretSource
from innervate_kinds.inference_pool.model import ReleaseRef
from innervate_kinds.model_release.model import SEGMENTS
from innervate_kinds.rl_run.record import RLRunStatus

RL_RUN = Kind(GROUP, VERSION, "RLRun", "rlruns")

Decimal = Annotated[str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,6})?$", max_length=20)]
"""A decimal number."""
NonNegative = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$", max_length=20)]
"""A decimal that is not negative."""
Confidence = Annotated[str, Field(pattern=r"^0\.[5-9][0-9]{0,5}$", max_length=8)]
"""A decimal from 0.5, below 1."""


class EnvironmentRef(Model):
    """An Environment by name."""

    name: ObjectName
    """Name of the Environment in the same namespace."""


class Architecture(Model):
    """A policy network that begins with random weights."""

    hidden_sizes: Annotated[
        tuple[Annotated[int, Field(strict=True, ge=1, le=4096)], ...], Field(min_length=1, max_length=8)
    ] = (64, 64)
    """Units of each hidden layer."""


class Policy(Model):
    """What is trained: exactly one of `releaseRef` and `architecture`."""

    release_ref: ReleaseRef | None = None
    """Release that training starts from, a language model or a policy that an earlier run published; it must
    be verified."""
    architecture: Architecture | None = None
    """Network that begins with random weights, drawn by the seed."""


class AlgorithmName(StrEnum):
    """How a policy is improved."""

    PPO = "PPO"
    GRPO = "GRPO"


class Algorithm(Model):
    """How the policy is improved."""

    name: AlgorithmName
    """`PPO`: proximal policy optimisation of a network. `GRPO`: group-relative policy optimisation of a
    language model."""
    hyperparameters: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=64)] = (
        Field(default_factory=dict)
    )
    """Settings of the trainer, by name; an unknown one is refused by the trainer."""


class Builtin(Model):
    """The project's own trainer."""

    resources: Resources | None = None
    """Compute resources of the trainer."""


class External(Model):
    """A trainer in an image of yours, which reports as trainers do."""

    image: Annotated[str, Field(min_length=1, max_length=512)]
    """Image of the trainer."""
    command: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=64)] = ()
    """Command; left out, the image's own."""
    args: Annotated[tuple[Annotated[str, Field(max_length=16_384)], ...], Field(max_length=64)] = ()
    """Arguments; left out, the image's own."""
    nodes: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    """Pods of each seed. The one of index 0 reports; the others find it at `$INNERVATE_COORDINATOR`."""
    resources: Resources | None = None
    """Compute resources of each pod."""


class Engine(Model):
    """What trains: exactly one of `builtin` and `external`."""

    builtin: Builtin | None = None
    """The project's own trainer."""
    external: External | None = None
    """A trainer in an image of yours: as a JobSet where the cluster has that kind, else as a Job."""


class Budget(Model):
    """What the run may use."""

    steps: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000_000)]
    """Environment steps of each seed; for text, turns."""
    seconds: Annotated[int, Field(strict=True, ge=1, le=2_592_000)] = 86_400
    """Time to train each seed, without the time that it is suspended; then the built-in trainer stops where
    it is and evaluates that. A seed that is not at its end a quarter of an hour later has failed."""
    cost: NonNegative | None = None
    """Most that all seeds together may cost, a pod costing what a node of its ComputePool does: each seed
    gets an equal share, and stops when it has had the time that its share buys, four fifths of it to
    train. Needs `placement`."""


class Staleness(Model):
    """How old a policy may be that makes experience."""

    max_policy_lag: Annotated[int, Field(strict=True, ge=0, le=64)] = 0
    """Updates of the policy between making experience and learning from it; 0 is synchronous, and only
    then does a resumed run end as an undisturbed one."""


class Checkpoint(Model):
    """When the state of training is saved."""

    every_steps: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)] = 10_000
    """Environment steps between two checkpoints."""


class AccessMode(StrEnum):
    """From how many nodes the volume may be written."""

    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class Storage(Model):
    """Volume for checkpoints, curves, experience and reports, deleted with the run."""

    size: PositiveQuantity = "1Gi"
    """Size of the volume."""
    storage_class_name: ObjectName | None = None
    """Storage class of the volume; left out, the cluster's default."""
    access_mode: AccessMode = AccessMode.READ_WRITE_ONCE
    """`ReadWriteOnce` holds all pods of the run to one node; `ReadWriteMany` lets them spread."""


class Keep(StrEnum):
    """Which episodes are kept."""

    NONE = "None"
    BEST = "Best"
    ALL = "All"


class Experience(Model):
    """Which episodes are kept on the volume, to look at and to learn from again."""

    keep: Keep = Keep.BEST
    """`None`, the `Best`, or `All` of them."""
    max_episodes: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 1000
    """Most episodes that are kept of a seed."""


class GateMetric(StrEnum):
    """What a gate looks at."""

    REWARD = "Reward"
    HELD_OUT = "HeldOut"


class Gate(Model):
    """What must hold for the run to succeed."""

    metric: GateMetric = GateMetric.REWARD
    """`Reward`: mean reward of an evaluation. `HeldOut`: mean of the rewards of role `HeldOut`."""
    threshold: Decimal
    """The lower bound of the mean over seeds must reach this."""
    confidence: Confidence = "0.95"
    """Confidence of the one-sided lower bound, by Student's t over the seeds' means."""
    episodes: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 100
    """Fresh episodes by which each seed is evaluated at its end."""
    max_gap: NonNegative | None = None
    """With a larger gap between trained and held-out reward in any seed, the gate fails."""


class Publish(Model):
    """Where the best seed's policy goes once the gate is passed."""

    release_name: ObjectName
    """Name of the ModelRelease that is made."""
    uri: Annotated[str, Field(pattern=rf"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?{SEGMENTS}$", max_length=1024)]
    """Release store on a volume, `pvc://<claim>[/<path>]`; the trainers mount the claim for writing."""
    signing: SecretSource
    """Private key, Ed25519 in PEM, that the release is signed with."""


class Queue(Model):
    """Who decides when the run's Jobs may start."""

    kueue_local_queue: Annotated[
        str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)
    ]
    """Kueue's LocalQueue in the same namespace: Jobs are made suspended, and Kueue lets them start."""


class RLRunSpec(Model):
    """What is trained where, by what, for how long, and what must hold. Only `suspend` can be changed."""

    environment_ref: EnvironmentRef
    """Environment that the policy acts in."""
    policy: Policy
    """What is trained."""
    algorithm: Algorithm
    """How the policy is improved."""
    engine: Engine = Engine(builtin=Builtin())
    """What trains."""
    budget: Budget
    """What the run may use."""
    staleness: Staleness = Field(default_factory=Staleness)
    """How old a policy may be that makes experience."""
    seeds: Annotated[int, Field(strict=True, ge=1, le=32)] = 1
    """How many times the policy is trained, each time by another seed, numbered from 0."""
    parallelism: Annotated[int, Field(strict=True, ge=1, le=32)] = 1
    """Seeds that train at the same time."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """When the state of training is saved."""
    storage: Storage = Field(default_factory=Storage)
    """Volume for checkpoints, curves, experience and reports."""
    experience: Experience = Field(default_factory=Experience)
    """Which episodes are kept."""
    gate: Gate | None = None
    """What must hold for the run to succeed; left out, that every seed ends."""
    publish: Publish | None = None
    """Where the best seed's policy goes; left out, nowhere."""
    suspend: bool = False
    """Whether training stands still: pods are stopped, and go on from their checkpoints later."""
    queue: Queue | None = None
    """Who decides when Jobs may start; left out, they start at once."""
    placement: Placement | None = None
    """On which nodes the trainers run; left out, anywhere. Where the ComputePool has an accelerator, each pod
    gets it."""


class RLRun(Resource[RLRunSpec, RLRunStatus]):
    """Trains a policy in an environment, several seeds of it, and publishes the best of them."""


def _same(run: RLRun, old: RLRun | None) -> bool:
    return old is None or run.spec.model_copy(update={"suspend": old.spec.suspend}) == old.spec


def _fits(run: RLRun) -> bool:
    spec = run.spec
    trains_language = spec.algorithm.name is AlgorithmName.GRPO and spec.engine.external is None
    return not trains_language or spec.policy.release_ref is not None


_MUTABLE = "suspend"
_OPTIONAL = tuple(
    field.alias or ""
    for field in RLRunSpec.model_fields.values()
    if field.default is None and field.alias != _MUTABLE
)
_ALWAYS = tuple(
    field.alias or ""
    for field in RLRunSpec.model_fields.values()
    if field.default is not None and field.alias != _MUTABLE
)
_UNCHANGED = " && ".join(
    [
        *(f"self.{name} == oldSelf.{name}" for name in _ALWAYS),
        *(
            f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
            for name in _OPTIONAL
        ),
    ]
)

DEFINITION = Definition(
    kind=RL_RUN,
    short_names=("rlr",),
    description="RLRun trains a policy in an Environment by reinforcement learning: several seeds, a budget, "
    "a gate over the seeds, and a signed ModelRelease of the best of them.",
    columns=(
        Column("Succeeded", '.status.conditions[?(@.type=="Succeeded")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Succeeded")].reason'),
        Column("Steps", ".status.steps", "integer"),
        Column("Best", ".status.bestReward"),
        Column("Low", ".status.gate.low"),
        Column("Release", ".status.release"),
        Column("Environment", ".spec.environmentRef.name", priority=1),
        Column("Algorithm", ".spec.algorithm.name", priority=1),
        Column("Rate", ".status.rate", priority=1),
        Column("Threshold", ".spec.gate.threshold", priority=1),
        Column("Voided", ".status.rejected.infrastructure", "integer", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Rule(
            path="spec",
            rule=_UNCHANGED,
            message="of an RLRun only suspend can be changed; create another one",
            holds=_same,
        ),
        Rule(
            path="spec.policy",
            rule="has(self.releaseRef) != has(self.architecture)",
            message="exactly one of releaseRef and architecture must be set",
            holds=lambda run, _old: (
                (run.spec.policy.release_ref is None) != (run.spec.policy.architecture is None)
            ),
        ),
        Rule(
            path="spec.engine",
            rule="has(self.builtin) != has(self.external)",
            message="exactly one of builtin and external must be set",
            holds=lambda run, _old: (run.spec.engine.builtin is None) != (run.spec.engine.external is None),
        ),
        Rule(
            path="spec",
            rule="has(self.engine.external) || self.algorithm.name != 'GRPO' || has(self.policy.releaseRef)",
            message="GRPO needs policy.releaseRef: it trains a language model",
            holds=lambda run, _old: _fits(run),
        ),
        Rule(
            path="spec",
            rule="!has(self.engine.external) || self.engine.external.nodes == 1 || "
            "self.storage.accessMode == 'ReadWriteMany'",
            message="several nodes need storage.accessMode ReadWriteMany",
            holds=lambda run, _old: (
                run.spec.engine.external is None
                or run.spec.engine.external.nodes == 1
                or run.spec.storage.access_mode is AccessMode.READ_WRITE_MANY
            ),
        ),
        Rule(
            path="spec",
            rule="!has(self.budget.cost) || has(self.placement)",
            message="budget.cost needs placement: only a ComputePool has a price",
            holds=lambda run, _old: run.spec.budget.cost is None or run.spec.placement is not None,
        ),
        Rule(
            path="spec",
            rule="!has(self.gate) || self.seeds >= 2",
            message="a gate needs seeds of at least 2: one mean has no bound",
            holds=lambda run, _old: run.spec.gate is None or run.spec.seeds > 1,
        ),
        Rule(
            path="spec",
            rule="!has(self.publish) || has(self.gate)",
            message="publish needs a gate: nothing is published that has shown nothing",
            holds=lambda run, _old: run.spec.publish is None or run.spec.gate is not None,
        ),
        Rule(
            path="spec",
            rule="!has(self.queue) || !self.suspend",
            message="a run with a queue is held by its queue: stop its Workloads there, or leave suspend out",
            holds=lambda run, _old: run.spec.queue is None or not run.spec.suspend,
        ),
    ),
)
