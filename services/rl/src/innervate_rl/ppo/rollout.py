"""Steps of an environment that runs inside the trainer, compiled with the policy that acts in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp

from innervate_rl.ppo import network
from innervate_rl.ppo.learning import Batch

if TYPE_CHECKING:
    from innervate_rl.environments.dynamics import Dynamics
    from innervate_rl.ppo.network import Parameters


class Slots(NamedTuple):
    """Environments side by side, each within an episode: ``[environment, ...]``."""

    states: jax.Array
    lengths: jax.Array
    """Steps of the episode so far."""
    returns: jax.Array
    """Sum of its rewards so far."""


class Ended(NamedTuple):
    """Episodes that ended in a rollout."""

    episodes: jax.Array
    returns: jax.Array
    """Their sum."""
    lengths: jax.Array
    """Their sum."""


def begin(dynamics: Dynamics, key: jax.Array, count: int) -> Slots:
    """First states of as many environments."""
    states = jax.vmap(dynamics.reset)(jax.random.split(key, count))
    return Slots(states, jnp.zeros(count, jnp.int32), jnp.zeros(count))


def noise(key: jax.Array, steps: int, count: int, actions: int) -> jax.Array:
    """Gumbel noise that chooses actions, ``[time, environment, action]``: the same wherever they act."""
    return jax.random.gumbel(key, (steps, count, actions))


def act(parameters: Parameters, observations: jax.Array, chances: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Choose actions at random, as the policy weighs them; gives their log-probabilities, too."""
    scores = jax.nn.log_softmax(network.logits(parameters, observations))
    actions = jnp.argmax(scores + chances, axis=-1)
    return actions, (scores * jax.nn.one_hot(actions, scores.shape[-1])).sum(axis=-1)


def roll(
    dynamics: Dynamics, parameters: Parameters, slots: Slots, key: jax.Array, steps: int
) -> tuple[Slots, Batch, Ended]:
    """Step every environment, beginning the next episode where one ended."""
    count = slots.lengths.shape[0]
    key, other = jax.random.split(key)
    chances = noise(key, steps, count, dynamics.actions)
    # All that is random is drawn at once: a call for each step would cost more than the step.
    fresh = jax.vmap(jax.vmap(dynamics.reset))(jax.random.split(other, (steps, count)))

    def step(slots: Slots, random: tuple[jax.Array, jax.Array]) -> tuple[Slots, tuple[jax.Array, ...]]:
        chance, first = random
        observations = jax.vmap(dynamics.observe)(slots.states)
        actions, logprobs = act(parameters, observations, chance)
        followed = jax.vmap(dynamics.step)(slots.states, actions)
        lengths, returns = slots.lengths + 1, slots.returns + followed.reward
        truncated = lengths >= dynamics.max_episode_steps
        ended = followed.terminated | truncated
        finals = jax.vmap(dynamics.observe)(followed.state)
        after = Slots(
            jnp.where(ended[:, None], first, followed.state),
            jnp.where(ended, 0, lengths),
            jnp.where(ended, 0.0, returns),
        )
        told = (observations, actions, logprobs, followed.reward, followed.terminated, truncated, finals)
        return after, (*told, jnp.where(ended, returns, 0.0), jnp.where(ended, lengths, 0))

    slots, (*told, returns, lengths) = jax.lax.scan(step, slots, (chances, fresh))
    observations, actions, logprobs, rewards, terminated, truncated, finals = told
    batch = Batch(
        observations,
        actions,
        logprobs,
        rewards,
        terminated,
        truncated,
        finals,
        valid=jnp.ones_like(terminated),
        last=jax.vmap(dynamics.observe)(slots.states),
    )
    ended = Ended((terminated | truncated).sum(), returns.sum(), lengths.sum())
    return slots, batch, ended


class Played(NamedTuple):
    """Whole episodes, ``[time, episode, ...]``: after its end an episode goes on, which means nothing."""

    observations: jax.Array
    actions: jax.Array
    rewards: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    finals: jax.Array
    lengths: jax.Array
    """``[episode]``"""
    returns: jax.Array
    """``[episode]``"""


def play(dynamics: Dynamics, parameters: Parameters, key: jax.Array, count: int) -> Played:
    """Fresh episodes of the policy's likeliest actions."""
    limit = dynamics.max_episode_steps

    def step(states: jax.Array, time: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        observations = jax.vmap(dynamics.observe)(states)
        actions = jnp.argmax(network.logits(parameters, observations), axis=-1)
        followed = jax.vmap(dynamics.step)(states, actions)
        finals = jax.vmap(dynamics.observe)(followed.state)
        truncated = jnp.broadcast_to(time == limit - 1, followed.terminated.shape)
        told = (observations, actions, followed.reward, followed.terminated, truncated, finals)
        return followed.state, told

    states = jax.vmap(dynamics.reset)(jax.random.split(key, count))
    _, told = jax.lax.scan(step, states, jnp.arange(limit))
    observations, actions, rewards, terminated, truncated, finals = told
    lengths = jnp.argmax(terminated | truncated, axis=0) + 1
    inside = jnp.arange(limit)[:, None] < lengths
    returns = jnp.where(inside, rewards, 0.0).sum(axis=0)
    return Played(observations, actions, rewards, terminated, truncated, finals, lengths, returns)
