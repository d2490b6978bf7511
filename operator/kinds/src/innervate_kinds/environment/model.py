"""What a user declares as an Environment, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Column, Definition, Rule
from innervate_kinds.api.scheduling import Placement, Resources
from innervate_kinds.parts import dataset, scorer
from innervate_kinds.parts.access import ServiceAccountSubject
from innervate_kinds.parts.dataset import Dataset
from innervate_kinds.parts.scorer import Scoring

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = Kind(GROUP, VERSION, "Environment", "environments")

Image = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9._/:]*(@sha256:[0-9a-f]{64})?$", min_length=1, max_length=512)
]
"""A container image by name, tag or digest."""
Weight = Annotated[str, Field(pattern=r"^-?[0-9]{1,6}(\.[0-9]{1,6})?$", max_length=14)]
"""A decimal."""
Digest = Annotated[str, Field(max_length=80)]
Count = Annotated[int, Field(strict=True, ge=0)]


class Gymnasium(Model):
    """An environment that Gymnasium knows, or a package written for the library `verifiers`."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][-A-Za-z0-9_.:/]*$", min_length=1, max_length=200)]
    """What `gymnasium.make` takes, such as `CartPole-v1`, or `package:Name-v0` for one that a package
    registers as it is imported. `verifiers:name` is no environment of Gymnasium: it names a package written
    for the library `verifiers`, which gives tasks and rewards of its own."""
    image: Image | None = None
    """Image that holds the environment's package besides the server `innervate_environments`, and for
    `verifiers:name` that library; left out, the operator's own, with Gymnasium's classic environments."""
    options: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = Field(
        default_factory=dict
    )
    """Keyword arguments of `gymnasium.make`, or of the package's `load_environment`; each value is JSON, so
    that a text stands in quotes."""


class JaxId(StrEnum):
    """Environments that are written in JAX."""

    CART_POLE = "CartPole-v1"
    ACROBOT = "Acrobot-v1"


class Jax(Model):
    """An environment that runs inside the trainer, compiled with it. There are no pods."""

    id: JaxId
    """Which one; its steps are those of Gymnasium's environment of this name."""


class Tasks(Model):
    """Tasks with answers that can be verified; `spec.rewards` says how.

    An episode is one answer, or as many turns as a dialogue takes that a package in the image provides.
    """

    dataset: Dataset
    """The tasks, one JSON object a line."""
    image: Image | None = None
    """Image that holds a dialogue besides the server `innervate_environments`; left out, the operator's
    own, where one answer ends a task."""


class Source(Model):
    """What the environment is made of: exactly one of these."""

    gymnasium: Gymnasium | None = None
    """An environment that Gymnasium knows, or a package written for the library `verifiers`."""
    jax: Jax | None = None
    """An environment that runs inside the trainer. An environment cannot move into the trainer or out
    of it; create another one."""
    tasks: Tasks | None = None
    """Tasks with answers that can be verified."""


class RewardRole(StrEnum):
    """What a reward is for."""

    TRAINED = "Trained"
    CANARY = "Canary"
    HELD_OUT = "HeldOut"


class Reward(Model):
    """One named reward."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
    """Name of the reward, unique in the environment."""
    weight: Weight = "1.0"
    """Of a trained reward in the sum that is learned from, as a decimal."""
    role: RewardRole = RewardRole.TRAINED
    """`Trained`: part of what is learned from. `Canary`: looks for what an honest solution never does.
    `HeldOut`: judges the same answers in another way. The last two are told and never learned from."""
    scorer: Scoring
    """How an answer is scored, in a container apart that sees nothing but the answer."""


class AccessRule(Model):
    """Allows service accounts to use the environment."""

    service_accounts: Annotated[tuple[ServiceAccountSubject, ...], Field(min_length=1, max_length=32)]
    """Accounts that may practise."""


class EnvironmentSpec(Model):
    """What the environment is made of, how much of it is served, and to whom."""

    source: Source
    """What the environment is made of."""
    rewards: Annotated[tuple[Reward, ...], Field(max_length=16)] = ()
    """How answers to tasks are rewarded; other environments give their own reward."""
    replicas: Annotated[int, Field(strict=True, ge=1, le=32)] = 1
    """Number of server pods."""
    capacity: Annotated[int, Field(strict=True, ge=1, le=4096)] = 16
    """Slots of each server pod: episodes that may run at the same time."""
    instances_per_process: Annotated[int, Field(strict=True, ge=1, le=1024)] = 1
    """Slots whose Gymnasium environments or dialogues share one operating system process. With 1, what
    crashes or hangs takes nothing with it; more is faster, and they fail together."""
    max_episode_steps: Annotated[int, Field(strict=True, ge=1, le=2_147_483_647)] | None = None
    """Steps after which an episode of a Gymnasium environment is truncated, or turns after which one of a
    package for `verifiers` ends; left out, its own limit."""
    lease_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 300
    """A caller that holds no stream open and does nothing for so long loses its slots."""
    step_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 10
    """A step of a Gymnasium environment or dialogue that takes longer is ended, and its episode is void;
    for so long a scorer that is not there is waited for."""
    placement: Placement | None = None
    """On which nodes the server pods run; left out, anywhere."""
    resources: Resources | None = None
    """Compute resources of each server pod."""
    access: Annotated[tuple[AccessRule, ...], Field(max_length=64)] = ()
    """Who may practise. With no rule, every service account of the environment's own namespace."""


class Chain(Model):
    """Digests of all that decides what an episode is worth, as the server tells them."""

    environment: Digest
    """Over the others, and the environment's id and options."""
    image: Digest = ""
    """Of the server's image; empty where its name has none."""
    rewards: Digest = ""
    """Over the rewards, their scorers and the scorers' versions."""
    tasks: Digest = ""
    """Over the tasks; empty where there are none."""


class TaskCounts(Model):
    """Tasks by what they are for."""

    training: Count
    """Tasks that are learned from."""
    evaluation: Count
    """Tasks that are kept for evaluation."""


class EnvironmentStatus(Status):
    """What the operator knows about the environment."""

    endpoint: Annotated[str, Field(max_length=300)] | None = None
    """Address of the server inside the cluster; absent where the environment runs inside the trainer."""
    id: Annotated[str, Field(max_length=256)] | None = None
    """Name of the environment as it names itself."""
    chain: Chain | None = None
    """Digests that every experience made here carries; absent where it runs inside the trainer, which
    tells its own."""
    tasks: TaskCounts | None = None
    """Tasks by what they are for; absent where there are none."""
    capacity: Count | None = None
    """Slots of all ready pods, counted at `countTime`."""
    free: Count | None = None
    """Slots that nobody holds, counted at `countTime`."""
    count_time: datetime | None = None
    """When slots were last counted and found changed; at most once a minute."""


class Environment(Resource[EnvironmentSpec, EnvironmentStatus]):
    """What policies practise in."""


def _datasets(environment: Environment) -> Iterator[Dataset]:
    if environment.spec.source.tasks:
        yield environment.spec.source.tasks.dataset


def _one_source(environment: Environment) -> bool:
    source = environment.spec.source
    return sum(each is not None for each in (source.gymnasium, source.jax, source.tasks)) == 1


def _same_place(environment: Environment, old: Environment | None) -> bool:
    return old is None or (environment.spec.source.jax is None) == (old.spec.source.jax is None)


def _rewards_of_tasks(environment: Environment) -> bool:
    spec = environment.spec
    return (spec.source.tasks is not None) == bool(spec.rewards)


def _something_to_learn(environment: Environment) -> bool:
    rewards = environment.spec.rewards
    return not rewards or any(each.role is RewardRole.TRAINED for each in rewards)


def _names_differ(environment: Environment) -> bool:
    rewards = environment.spec.rewards
    return len({each.name for each in rewards}) == len(rewards)


def _limit_of_gymnasium(environment: Environment) -> bool:
    return environment.spec.source.gymnasium is not None or environment.spec.max_episode_steps is None


def _image_of_package(environment: Environment) -> bool:
    source = environment.spec.source.gymnasium
    return source is None or not source.id.startswith("verifiers:") or source.image is not None


def _holds(check: Any) -> Any:
    return lambda environment, _old: check(environment)


DEFINITION = Definition(
    kind=ENVIRONMENT,
    short_names=("env",),
    description="Environment is what policies practise in: a Gymnasium environment or tasks with verifiers, "
    "served with episodes apart from each other, or an environment that runs inside the trainer.",
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Id", ".status.id"),
        Column("Capacity", ".status.capacity", "integer"),
        Column("Free", ".status.free", "integer"),
        Column("Replicas", ".spec.replicas", "integer", priority=1),
        Column("Chain", ".status.chain.environment", priority=1),
        Column("Endpoint", ".status.endpoint", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Rule(
            path="spec.source",
            rule="[has(self.gymnasium), has(self.jax), has(self.tasks)].filter(one, one).size() == 1",
            message="exactly one of gymnasium, jax and tasks must be set",
            holds=_holds(_one_source),
        ),
        Rule(
            path="spec.source",
            rule="has(self.jax) == has(oldSelf.jax)",
            message="an environment cannot move into the trainer or out of it; create another Environment",
            holds=_same_place,
        ),
        Rule(
            path="spec.source.gymnasium",
            rule="!self.id.startsWith('verifiers:') || has(self.image)",
            message="a package for verifiers needs an image that holds it and that library",
            holds=_holds(_image_of_package),
        ),
        *dataset.rules("spec.source.tasks.dataset", _datasets),
        Rule(
            path="spec",
            rule="has(self.source.tasks) == (has(self.rewards) && size(self.rewards) > 0)",
            message="tasks need rewards, and other environments give their own",
            holds=_holds(_rewards_of_tasks),
        ),
        Rule(
            path="spec.rewards",
            rule="size(self) == 0 || self.exists(one, one.role == 'Trained')",
            message="one reward at least must have the role Trained",
            holds=_holds(_something_to_learn),
        ),
        Rule(
            path="spec.rewards",
            rule="self.all(one, self.exists_one(other, other.name == one.name))",
            message="names of rewards must differ",
            holds=_holds(_names_differ),
        ),
        *scorer.rules(
            "spec.rewards[].scorer", lambda environment: [each.scorer for each in environment.spec.rewards]
        ),
        Rule(
            path="spec",
            rule="self.instancesPerProcess <= self.capacity",
            message="instancesPerProcess must not be above capacity",
            holds=_holds(
                lambda environment: environment.spec.instances_per_process <= environment.spec.capacity
            ),
        ),
        Rule(
            path="spec",
            rule="has(self.source.gymnasium) || !has(self.maxEpisodeSteps)",
            message="maxEpisodeSteps is for gymnasium only",
            holds=_holds(_limit_of_gymnasium),
        ),
    ),
)
