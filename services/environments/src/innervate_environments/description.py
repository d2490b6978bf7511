"""What an environment is, and the digests that what is learned in it rests on."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from innervate_environments.episodes import Role
    from innervate_environments.spaces import Space


class Reward(NamedTuple):
    """A named reward of an environment."""

    name: str
    weight: str
    """In the sum of the trained rewards; a decimal."""
    role: Role


class Chain(NamedTuple):
    """Digests of all that decides what an episode is worth; empty where there is none."""

    environment: str
    """Over the others, and the environment's id and options."""
    image: str
    """Image of the server."""
    rewards: str
    """Rewards, their scorers and the scorers' image."""
    tasks: str
    """The file of tasks."""


class Description(NamedTuple):
    """What an environment is."""

    id: str
    observation_space: Space
    action_space: Space
    rewards: tuple[Reward, ...]
    max_episode_steps: int
    """0 for no limit."""
    chain: Chain
    capacity: int
    """Slots of this server."""
    free: int
    """Of those, how many no lease holds."""
    training_tasks: int = 0
    evaluation_tasks: int = 0


def digest_of(document: Any) -> str:
    """Digest of a JSON value, whatever the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
