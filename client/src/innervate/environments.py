"""Environments, asked what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import innervate_kinds.environment.names as children
from innervate_api.env.v1 import env_pb2 as pb
from innervate_api.env.v1 import env_pb2_grpc

from innervate.calls import Call
from innervate.route import Served
from innervate.rpc import RpcClient

SERVICE: Final = "innervate_api.env.v1.EnvironmentService"
ENVIRONMENT = Served("Environment", "environments", lambda name: children.Names.of(name).trust)

_ROLES: Final = {
    pb.REWARD_ROLE_TRAINED: "Trained",
    pb.REWARD_ROLE_CANARY: "Canary",
    pb.REWARD_ROLE_HELD_OUT: "HeldOut",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardDescription:
    """A named reward.

    Parameters
    ----------
    name, weight
        Its name, and its weight in the sum that is learned from.
    role
        ``Trained``, ``Canary`` or ``HeldOut``; only the first is learned from.
    """

    name: str
    weight: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentDescription:
    """What a server says of its environment.

    Parameters
    ----------
    id
        As it names itself.
    observation_space, action_space
        As Gymnasium writes spaces, ``Discrete(2)``.
    rewards
        Named rewards.
    max_episode_steps
        Steps after which an episode is truncated; 0 for no limit.
    chain
        Digests of all that decides what an episode is worth.
    capacity, free
        Slots of the pod that answered, and those that nobody holds.
    training_tasks, evaluation_tasks
        Tasks by what they are for.
    """

    id: str
    observation_space: str
    action_space: str
    rewards: tuple[RewardDescription, ...]
    max_episode_steps: int
    chain: dict[str, str]
    capacity: int
    free: int
    training_tasks: int
    evaluation_tasks: int


class EnvironmentClient(RpcClient):
    """Asks an Environment what it is; trainers practise with their own client."""

    served = ENVIRONMENT
    stub = env_pb2_grpc.EnvironmentServiceStub

    def describe(self) -> EnvironmentDescription:
        """What the environment is.

        Raises
        ------
        InnervateError
            In the type that fits what went wrong.
        """
        return self._send(Call("Describe", pb.DescribeRequest(), _description, service=SERVICE))


def _description(reply: Any) -> EnvironmentDescription:
    chain = {field.name: value for field, value in reply.chain.ListFields()}
    return EnvironmentDescription(
        id=reply.id,
        observation_space=space_text(reply.observation_space),
        action_space=space_text(reply.action_space),
        rewards=tuple(
            RewardDescription(name=each.name, weight=each.weight, role=_ROLES.get(each.role, "Unknown"))
            for each in reply.rewards
        ),
        max_episode_steps=reply.max_episode_steps,
        chain=chain,
        capacity=reply.capacity,
        free=reply.free,
        training_tasks=reply.training_tasks,
        evaluation_tasks=reply.evaluation_tasks,
    )


def space_text(space: Any) -> str:
    """A space as Gymnasium writes it, bounds aside."""
    kind = space.WhichOneof("kind")
    one: Any = getattr(space, kind) if kind else None
    if kind == "box":
        return f"Box({tuple(one.shape)}, {one.dtype})"
    if kind == "discrete":
        return f"Discrete({one.n})" if not one.start else f"Discrete({one.n}, start={one.start})"
    if kind == "multi_discrete":
        return f"MultiDiscrete({list(one.n)})"
    if kind == "multi_binary":
        return f"MultiBinary({one.n})"
    return f"Text({one.max_length})" if kind == "text" else "unknown"
