"""Batches, the train step and its optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]  # it has no type information

from innervate_models import model

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from innervate_models.chat import Turns
    from innervate_models.model import ModelConfig, Parameters


class Schedule(NamedTuple):
    """How fast a model learns, step by step."""

    steps: int
    peak: float
    """Learning rate after the warm-up; it falls to a tenth of that along a cosine."""
    warmup: int
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest norm of a gradient."""


class Batch(NamedTuple):
    """What one step learns from."""

    tokens: np.ndarray[Any, np.dtype[np.int32]]
    """``[batch, position]``, filled up with the end token."""
    places: np.ndarray[Any, np.dtype[np.int32]]
    """Positions after which a token is to be predicted, ``[batch, number]``."""
    weights: np.ndarray[Any, np.dtype[np.float32]]
    """1 for each of those, 0 for filling."""


class State(NamedTuple):
    """What training goes on from."""

    parameters: Parameters
    optimizer: Any


def batch_of(rows: Sequence[Turns], *, length: int, fill: int) -> Batch:
    """Put tokenized conversations side by side.

    Parameters
    ----------
    rows
        The conversations.
    length
        Positions; a quarter as many tokens of a conversation are predicted at most.
    fill
        What stands behind them.

    Raises
    ------
    ValueError
        One is longer than `length`, or has more to predict than a quarter of it.
    """
    tokens = np.full((len(rows), length), fill, np.int32)
    places = np.zeros((len(rows), length // 4), np.int32)
    weights = np.zeros((len(rows), length // 4), np.float32)
    for place, row in enumerate(rows):
        learned = [number - 1 for number, told in enumerate(row.learned) if told]
        if len(row.tokens) > length or len(learned) > length // 4:
            raise ValueError(
                f"a conversation has {len(row.tokens)} tokens with {len(learned)} to predict, "
                f"the batch {length} positions with {length // 4}"
            )
        tokens[place, : len(row.tokens)] = row.tokens
        places[place, : len(learned)] = learned
        weights[place, : len(learned)] = 1
    return Batch(tokens, places, weights)


def begin(parameters: Parameters, schedule: Schedule) -> State:
    """The state before the first step."""
    return State(parameters, _optimizer(schedule).init(parameters))


def step_function(
    config: ModelConfig, schedule: Schedule
) -> Callable[[State, Batch], tuple[State, jax.Array]]:
    """Compile one step of AdamW: state and batch in, state and mean loss per predicted token out."""
    optimizer = _optimizer(schedule)

    def loss(parameters: Parameters, batch: Batch) -> jax.Array:
        tokens = jnp.asarray(batch.tokens)
        scores = model.logits(parameters, config, tokens, at=jnp.asarray(batch.places))
        expected = jnp.take_along_axis(tokens, batch.places + 1, axis=1)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, expected)
        mean: jax.Array = (losses * batch.weights).sum() / jnp.maximum(batch.weights.sum(), 1)
        return mean

    @jax.jit
    def step(state: State, batch: Batch) -> tuple[State, jax.Array]:
        value, gradients = jax.value_and_grad(loss)(state.parameters, batch)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.parameters)
        return State(optax.apply_updates(state.parameters, updates), optimizer_state), value

    return step


def _optimizer(schedule: Schedule) -> optax.GradientTransformation:
    rate = optax.warmup_cosine_decay_schedule(
        0.0, schedule.peak, schedule.warmup, max(schedule.steps, schedule.warmup + 1), schedule.peak / 10
    )
    return optax.chain(
        optax.clip_by_global_norm(schedule.clip),
        optax.adamw(
            rate,
            b2=0.98,
            weight_decay=schedule.weight_decay,
            mask=lambda parameters: jax.tree.map(lambda leaf: leaf.ndim > 1, parameters),
        ),
    )
