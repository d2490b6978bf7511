"""What PPO learns from a batch of experience, wherever it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]  # it has no type information

from innervate_rl.ppo import network

if TYPE_CHECKING:
    from innervate_rl.ppo.hyperparameters import Hyperparameters
    from innervate_rl.ppo.network import Parameters

_ADAM_EPSILON = 1e-5
_TINY = 1e-8


Array = Any
"""JAX's within a compiled function, numpy's or JAX's outside."""


class Batch(NamedTuple):
    """Steps of environments side by side, ``[time, environment, ...]``."""

    observations: Array
    actions: Array
    logprobs: Array
    """Of the actions, under the policy that chose them."""
    rewards: Array
    terminated: Array
    truncated: Array
    finals: Array
    """Observations after the steps, before any reset; only those of truncated episodes are read."""
    valid: Array
    """False where the episode is void: such a step is learned nothing from."""
    last: Array
    """Observations that the next step begins with, ``[environment, ...]``."""


class Learner(NamedTuple):
    """What learning goes on from."""

    parameters: Parameters
    optimizer: optax.OptState
    updates: jax.Array
    """Batches that were learned from."""


class Measures(NamedTuple):
    """How an update went: means over its gradient steps."""

    loss: jax.Array
    policy_loss: jax.Array
    value_loss: jax.Array
    entropy: jax.Array
    kl: jax.Array
    """Divergence of the behaviour policy from the learned one, by (r - 1) - log r."""
    clipped: jax.Array
    """Share of steps whose ratio was outside the clip range."""


class _Sample(NamedTuple):
    """Steps in one row."""

    observations: jax.Array
    actions: jax.Array
    logprobs: jax.Array
    advantages: jax.Array
    returns: jax.Array
    weights: jax.Array


def begin(parameters: Parameters) -> Learner:
    """The state before the first update."""
    return Learner(parameters, _optimizer(1.0).init(parameters), jnp.zeros((), jnp.int32))


def learn(
    learner: Learner, batch: Batch, key: jax.Array, chosen: Hyperparameters, updates: int
) -> tuple[Learner, Measures]:
    """Update policy and value by a batch.

    Parameters
    ----------
    learner
        Goes in.
    batch
        The experience, of the learner's own policy.
    key
        Of the order of steps.
    chosen
        How.
    updates
        How many there will be in all: rates fall towards nothing with the last.
    """
    left = 1 - learner.updates / updates
    rate = chosen.learning_rate * (left if chosen.learning_rate_schedule == "Linear" else 1.0)
    clip = chosen.clip_range * (left if chosen.clip_range_schedule == "Linear" else 1.0)
    whole = _sample(learner.parameters, batch, chosen)
    total = whole.actions.shape[0]

    def step(
        carried: tuple[Parameters, optax.OptState], rows: jax.Array | None
    ) -> tuple[tuple[Parameters, optax.OptState], Measures]:
        parameters, optimizer = carried
        sample = whole if rows is None else jax.tree.map(lambda leaf: leaf[rows], whole)
        gradients, measures = jax.grad(_loss, has_aux=True)(parameters, sample, clip, chosen)
        updated, optimizer = _optimizer(chosen.max_gradient_norm).update(gradients, optimizer)
        moved = jax.tree.map(lambda old, change: old - rate * change, parameters, updated)
        return (moved, optimizer), measures

    rows = None
    if chosen.batch < total:
        # In one batch the order means nothing, and taking rows costs as much as learning from them.
        orders = jax.vmap(lambda one: jax.random.permutation(one, total))(
            jax.random.split(key, chosen.epochs)
        )
        rows = orders.reshape(-1, chosen.batch)
    (parameters, optimizer), measures = jax.lax.scan(
        step,
        (learner.parameters, learner.optimizer),
        rows,
        length=None if rows is not None else chosen.epochs,
    )
    return Learner(parameters, optimizer, learner.updates + 1), Measures(*(each.mean() for each in measures))


def _optimizer(norm: float) -> optax.GradientTransformation:
    # As one vector: a dozen small arrays take longer than what is done to them.
    return optax.flatten(optax.chain(optax.clip_by_global_norm(norm), optax.scale_by_adam(eps=_ADAM_EPSILON)))


def _sample(parameters: Parameters, batch: Batch, chosen: Hyperparameters) -> _Sample:
    """Advantages by GAE, https://arxiv.org/abs/1506.02438; a truncated episode goes on in its value."""
    values = network.value(parameters, jnp.concatenate([batch.observations, batch.last[None]]))
    beyond = chosen.gamma * network.value(parameters, batch.finals)
    rewards = batch.rewards + jnp.where(batch.truncated & ~batch.terminated, beyond, 0.0)
    going = 1.0 - (batch.terminated | batch.truncated)
    surprises = rewards + chosen.gamma * values[1:] * going - values[:-1]

    def back(advantage: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        surprise, goes_on = at
        advantage = surprise + chosen.gamma * chosen.gae_lambda * goes_on * advantage
        return advantage, advantage

    _, advantages = jax.lax.scan(
        back, jnp.zeros_like(surprises[0]), (surprises, going), reverse=True, unroll=4
    )

    def flat(leaf: jax.Array) -> jax.Array:
        return leaf.reshape(-1, *leaf.shape[2:])

    return _Sample(
        flat(batch.observations),
        flat(batch.actions),
        flat(batch.logprobs),
        flat(advantages),
        flat(advantages + values[:-1]),
        flat(batch.valid).astype(jnp.float32),
    )


def _loss(
    parameters: Parameters, sample: _Sample, clip: jax.Array, chosen: Hyperparameters
) -> tuple[jax.Array, Measures]:
    count = jnp.maximum(sample.weights.sum(), 1.0)

    def mean(each: jax.Array) -> jax.Array:
        return (each * sample.weights).sum() / count

    everything = jax.nn.log_softmax(network.logits(parameters, sample.observations))
    # A sum instead of a look-up: its gradient is no scatter, which is slow, and on GPUs not the same twice.
    logprobs = (everything * jax.nn.one_hot(sample.actions, everything.shape[-1])).sum(axis=1)
    entropy = mean(-(jnp.exp(everything) * everything).sum(axis=1))
    advantages = sample.advantages - mean(sample.advantages)
    spread = jnp.sqrt((advantages**2 * sample.weights).sum() / jnp.maximum(count - 1, 1.0))
    advantages = advantages / (spread + _TINY)
    change = logprobs - sample.logprobs
    ratio = jnp.exp(change)
    policy_loss = -mean(jnp.minimum(advantages * ratio, advantages * jnp.clip(ratio, 1 - clip, 1 + clip)))
    value_loss = mean((network.value(parameters, sample.observations) - sample.returns) ** 2)
    loss = policy_loss + chosen.value_weight * value_loss - chosen.entropy_weight * entropy
    kl = mean(ratio - 1 - change)
    clipped = mean((jnp.abs(ratio - 1) > clip).astype(jnp.float32))
    return loss, Measures(loss, policy_loss, value_loss, entropy, kl, clipped)
