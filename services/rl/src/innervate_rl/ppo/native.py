"""Experience from an environment that runs inside the trainer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from innervate_rl.experience.rows import Steps
from innervate_rl.ppo import rollout
from innervate_rl.ppo.source import STREAM_EVALUATION, STREAM_TRAINING, Evaluated, Rollout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_rl.environments.dynamics import Dynamics
    from innervate_rl.ppo.learning import Batch
    from innervate_rl.ppo.network import Parameters


class Native:
    """Implements `Source`.

    Parameters
    ----------
    dynamics
        The environment.
    count
        How many, side by side.
    steps
        Of each between two updates.
    seed
        Of everything random.
    chain
        What a result says of the environment.
    """

    def __init__(
        self, dynamics: Dynamics, *, count: int, steps: int, seed: int, chain: Mapping[str, str]
    ) -> None:
        self.observation_size = dynamics.observation_size
        self.actions = dynamics.actions
        self.chain = chain
        self._dynamics = dynamics
        self._seed = seed

        self._steps = steps
        self._slots = _begin(dynamics, seed, count)

    def state(self) -> Any:
        """See `Source`."""
        return self._slots

    def notes(self) -> dict[str, Any]:
        """See `Source`."""
        return {}

    def restore(self, state: Any, notes: Mapping[str, Any]) -> None:  # noqa: ARG002  all is in the arrays
        """See `Source`."""
        self._slots = state

    def rollout(self, parameters: Parameters, iteration: int) -> Rollout:
        """See `Source`."""
        at = self._seed, iteration
        self._slots, batch, ended = _roll(self._dynamics, parameters, self._slots, at, self._steps)
        return Rollout(batch, ended.episodes, ended.returns, ended.lengths)

    def evaluate(self, parameters: Parameters, episodes: int) -> Evaluated:
        """See `Source`."""
        played = _play(self._dynamics, parameters, self._seed, episodes)
        arrays = jax.tree.map(np.asarray, played)
        length = int(arrays.lengths.max())
        steps = Steps(
            observation=arrays.observations[:length],
            action=arrays.actions[:length],
            reward=arrays.rewards[:length],
            terminated=arrays.terminated[:length],
            truncated=arrays.truncated[:length] & ~arrays.terminated[:length],
            final_observation=arrays.finals[:length],
        )
        return Evaluated(arrays.returns, arrays.lengths, steps)

    def close(self) -> None:
        """See `Source`."""


# Compiled once for all seeds that a process trains.
@partial(jax.jit, static_argnums=(0, 2))
def _begin(dynamics: Dynamics, seed: int, count: int) -> rollout.Slots:
    return rollout.begin(dynamics, jax.random.fold_in(_key(seed, STREAM_TRAINING), 0), count)


@partial(jax.jit, static_argnums=(0, 4))
def _roll(
    dynamics: Dynamics, parameters: Parameters, slots: rollout.Slots, at: tuple[int, int], steps: int
) -> tuple[rollout.Slots, Batch, rollout.Ended]:
    seed, iteration = at
    key = jax.random.fold_in(_key(seed, STREAM_TRAINING), iteration + 1)
    return rollout.roll(dynamics, parameters, slots, key, steps)


@partial(jax.jit, static_argnums=(0, 3))
def _play(dynamics: Dynamics, parameters: Parameters, seed: int, count: int) -> rollout.Played:
    return rollout.play(dynamics, parameters, _key(seed, STREAM_EVALUATION), count)


def _key(seed: int, stream: int) -> jax.Array:
    return jax.random.fold_in(jax.random.PRNGKey(seed), stream)
