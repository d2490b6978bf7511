"""What GRPO improves, and one step of it."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]  # it has no type information
from innervate_models import model

from innervate_rl.grpo import lora
from innervate_rl.grpo.hyperparameters import LossNormalization

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_models.model import ModelConfig, Parameters

    from innervate_rl.grpo.hyperparameters import Hyperparameters


class Experience(NamedTuple):
    """Answers as they are learned from. All but `tokens` and `lengths` is ``[row, token of the answer]``."""

    tokens: Any
    """Prompts with their answers right behind them, ``[row, position]``."""
    lengths: Any
    """Tokens of each prompt, ``[row]``."""
    mask: Any
    """1 for tokens that were chosen and count; 0 everywhere for an answer without a reward."""
    advantages: Any
    behaviour: Any
    """Log-probabilities under the policy that drew the answers."""
    proximal: Any
    """Under the policy as it was before this update."""
    reference: Any
    """Under the policy that training began with."""


class Metrics(NamedTuple):
    """Means over the tokens that count."""

    loss: Any
    kl: Any
    """k3 estimate of the divergence from the reference."""
    entropy: Any
    clipped: Any
    """Share of tokens whose ratio is clipped."""
    weight: Any
    """Mean truncated importance weight; 1 where experience is of the current policy."""
    gradient: Any
    """Norm of the gradient before it is clipped."""


class TokenStatistics(NamedTuple):
    """Of each token of the answers, ``[row, token]``."""

    logprobs: jax.Array
    entropy: jax.Array
    """Of the distribution that the token was drawn from."""


class State(NamedTuple):
    """What training goes on from."""

    trained: Any
    """The parameters, or the adapter beside them."""
    optimizer: Any


def statistics(
    parameters: Parameters,
    tokens: jax.Array,
    lengths: jax.Array,
    temperature: float | jax.Array,
    *,
    config: ModelConfig,
    limit: int,
) -> TokenStatistics:
    """Log-probabilities and entropies of answers that stand behind their prompts.

    Parameters
    ----------
    parameters, config
        The policy.
    tokens, lengths
        As in `Experience`.
    temperature
        At which the answers were drawn.
    limit
        Tokens of an answer.
    """
    places = lengths[:, None] - 1 + jnp.arange(limit)[None, :]
    scores = model.logits(parameters, config, tokens, at=places) / temperature
    logprobs = jax.nn.log_softmax(scores)
    chosen = jnp.take_along_axis(tokens, places + 1, axis=1)
    taken = jnp.take_along_axis(logprobs, chosen[:, :, None], axis=2)[:, :, 0]
    return TokenStatistics(taken, -(jnp.exp(logprobs) * logprobs).sum(-1))


def k3(reference: jax.Array, current: jax.Array) -> jax.Array:
    """Estimate of the divergence of the current policy from the reference, token by token.

    ``exp(r) - r - 1`` with ``r = reference - current``: without bias for tokens that the current policy
    drew, and never negative (J. Schulman, "Approximating KL divergence", 2020).
    """
    difference = reference - current
    estimate: jax.Array = jnp.exp(difference) - difference - 1
    return estimate


def loss(
    current: TokenStatistics, experience: Experience, chosen: Hyperparameters
) -> tuple[jax.Array, Metrics]:
    """What is made small.

    The ratio of the current to the proximal policy is clipped as in PPO; what an older policy drew is
    weighted by the ratio of the proximal to that policy, cut at a cap, which is no part of the gradient
    (decoupled PPO, arXiv:2110.00641; truncated importance sampling).
    """
    mask = experience.mask
    count = jnp.maximum(mask.sum(), 1)
    ratio = jnp.exp(current.logprobs - experience.proximal)
    bounded = jnp.clip(ratio, 1 - chosen.clip_low, 1 + chosen.clip_high)
    gain = jnp.minimum(ratio * experience.advantages, bounded * experience.advantages)
    weight = jnp.minimum(jnp.exp(experience.proximal - experience.behaviour), chosen.importance_cap)
    if chosen.importance_correction:
        gain = gain * weight
    divergence = k3(experience.reference, current.logprobs)
    each = (-gain + chosen.kl_coefficient * divergence - chosen.entropy_coefficient * current.entropy) * mask
    answers = jnp.maximum((mask.sum(1) > 0).sum(), 1)
    match chosen.loss_normalization:
        case LossNormalization.SEQUENCE:
            total = (each.sum(1) / jnp.maximum(mask.sum(1), 1)).sum() / answers
        case LossNormalization.TOKEN:
            total = each.sum() / count
        case LossNormalization.CONSTANT:
            total = each.sum() / (answers * mask.shape[1])

    def mean(values: jax.Array) -> jax.Array:
        average: jax.Array = (values * mask).sum() / count
        return average

    return total, Metrics(
        loss=total,
        kl=mean(divergence),
        entropy=mean(current.entropy),
        clipped=mean(gain_is_clipped(ratio, experience.advantages, chosen)),
        weight=mean(weight),
        gradient=jnp.zeros(()),
    )


def gain_is_clipped(ratio: jax.Array, advantages: jax.Array, chosen: Hyperparameters) -> jax.Array:
    """1 for tokens whose ratio went so far in the wanted direction that they count no more, else 0."""
    above = (advantages > 0) & (ratio > 1 + chosen.clip_high)
    below = (advantages < 0) & (ratio < 1 - chosen.clip_low)
    return jnp.where(above | below, 1.0, 0.0)


def optimizer(chosen: Hyperparameters) -> optax.GradientTransformation:
    """AdamW at a constant rate after its warm-up, with clipped gradients."""
    # The first step learns something already.
    first = chosen.learning_rate / chosen.warmup
    rate = optax.linear_schedule(first, chosen.learning_rate, max(chosen.warmup - 1, 1))
    return optax.chain(
        optax.clip_by_global_norm(chosen.gradient_clip), optax.adamw(rate, b2=0.99, weight_decay=0.0)
    )


class Programs(NamedTuple):
    """What is compiled for a run."""

    begin: Callable[[Any], Any]
    """What is trained in, the optimizer's first state out."""
    measure: Callable[[Parameters, Any, Any], TokenStatistics]
    """Parameters, tokens and lengths in, statistics out."""
    update: Callable[[State, Parameters, Experience], tuple[State, Metrics]]
    """One optimizer step; the parameters are those that training began with."""
    merge: Callable[[Any, Parameters], Parameters]
    """What is trained and what training began with in, the model out."""


def parameters_of(trained: Any, reference: Parameters, chosen: Hyperparameters) -> Parameters:
    """The model that is trained: an adapter is merged into what it lies beside."""
    if not chosen.lora_rank:
        parameters: Parameters = trained
        return parameters
    return lora.merged(reference, trained, scale=chosen.lora_alpha / chosen.lora_rank)


_COMPILED: Final = (
    *("temperature", "answer_tokens", "learning_rate", "warmup", "gradient_clip", "clip_low", "clip_high"),
    *("loss_normalization", "kl_coefficient", "entropy_coefficient", "importance_correction"),
    *("importance_cap", "lora_rank", "lora_alpha"),
)
"""Settings that are part of a program."""


def programs(config: ModelConfig, chosen: Hyperparameters) -> Programs:
    """Programs for a model's shape and settings; each is compiled when it is first used, once a process."""
    return _programs(config, type(chosen)(**{name: getattr(chosen, name) for name in _COMPILED}))


@lru_cache(maxsize=8)
def _programs(config: ModelConfig, chosen: Hyperparameters) -> Programs:
    measured = partial(statistics, temperature=chosen.temperature, config=config, limit=chosen.answer_tokens)
    step = optimizer(chosen)

    def objective(trained: Any, reference: Parameters, experience: Experience) -> tuple[jax.Array, Metrics]:
        parameters = parameters_of(trained, reference, chosen)
        return loss(measured(parameters, experience.tokens, experience.lengths), experience, chosen)

    def update(state: State, reference: Parameters, experience: Experience) -> tuple[State, Metrics]:
        gradients, metrics = jax.grad(objective, has_aux=True)(state.trained, reference, experience)
        updates, moments = step.update(gradients, state.optimizer, state.trained)
        metrics = metrics._replace(gradient=optax.tree.norm(gradients))
        return State(optax.apply_updates(state.trained, updates), moments), metrics

    return Programs(
        begin=jax.jit(step.init),
        measure=jax.jit(measured),
        update=jax.jit(update),
        merge=jax.jit(partial(parameters_of, chosen=chosen)),
    )
