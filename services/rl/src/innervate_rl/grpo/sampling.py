"""Answers drawn from a policy, with the probability that it gave to each of their tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from innervate_models import model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_models.model import ModelConfig, Parameters
    from numpy.typing import NDArray


class Prompts(NamedTuple):
    """Prompts side by side."""

    tokens: NDArray[np.int32]
    """``[row, position]``, filled up behind each prompt."""
    lengths: NDArray[np.int32]
    """Tokens of each prompt, ``[row]``."""


class Answers(NamedTuple):
    """What was drawn; every array is ``[row, token]``."""

    tokens: NDArray[np.int32]
    """The end token and what stands behind it included."""
    logprobs: NDArray[np.float32]
    """Log-probability of each token under the policy that drew it, at the temperature of the draw."""
    mask: NDArray[np.float32]
    """1 up to the end token, which is the last that was chosen; 0 behind it."""

    def part(self, rows: slice) -> Answers:
        """Some of the rows."""
        return Answers(self.tokens[rows], self.logprobs[rows], self.mask[rows])


def prompts_of(rows: Sequence[Sequence[int]], *, length: int, fill: int) -> Prompts:
    """Put tokenized prompts side by side.

    Raises
    ------
    ValueError
        A prompt is longer than `length`, or empty.
    """
    tokens = np.full((len(rows), length), fill, np.int32)
    for place, row in enumerate(rows):
        if not 0 < len(row) <= length:
            raise ValueError(f"a prompt of {len(row)} tokens does not fit {length}")
        tokens[place, : len(row)] = row
    return Prompts(tokens, np.array([len(row) for row in rows], np.int32))


@partial(jax.jit, static_argnames=("config", "limit", "end"))
def _draw(
    parameters: Parameters,
    prompts: Any,
    keys: jax.Array,
    temperature: jax.Array,
    *,
    config: ModelConfig,
    limit: int,
    end: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    tokens, lengths = prompts
    rows, length = tokens.shape
    # No more of the context is kept than can be read: a step looks at all that is kept.
    narrow = config._replace(context=length + limit)
    cache = model.empty_cache(narrow, batch=rows)
    scores, cache = model.advance(parameters, narrow, tokens, jnp.zeros(rows, jnp.int32), cache)
    last = jnp.take_along_axis(scores, lengths[:, None, None] - 1, axis=1)[:, 0]

    def choose(last: jax.Array, place: jax.Array) -> tuple[jax.Array, jax.Array]:
        scaled = last / jnp.where(temperature > 0, temperature, 1.0)
        drawn = jax.vmap(lambda key, row: jax.random.categorical(jax.random.fold_in(key, place), row))(
            keys, scaled
        )
        chosen = jnp.where(temperature > 0, drawn, scaled.argmax(-1)).astype(jnp.int32)
        logprobs = jax.nn.log_softmax(scaled)
        return chosen, jnp.take_along_axis(logprobs, chosen[:, None], axis=1)[:, 0]

    def step(carried: Any, place: jax.Array) -> tuple[Any, Any]:
        last, cache, going = carried
        chosen, logprob = choose(last, place)
        # What the cache holds of the filling behind a prompt is overwritten before anything looks at it.
        scores, cache = model.advance(parameters, narrow, chosen[:, None], lengths + place, cache)
        return (scores[:, 0], cache, going & (chosen != end)), (chosen, logprob, going)

    going = jnp.ones(rows, bool)
    _, (chosen, logprobs, mask) = jax.lax.scan(step, (last, cache, going), jnp.arange(limit))
    return chosen.T, logprobs.T, mask.T.astype(jnp.float32)


def draw(
    parameters: Parameters,
    config: ModelConfig,
    prompts: Prompts,
    *,
    keys: jax.Array,
    limit: int,
    end: int,
    temperature: float,
) -> Answers:
    """Draw an answer to each prompt.

    Parameters
    ----------
    parameters, config
        The policy.
    prompts
        What is answered. One program is compiled for each shape.
    keys
        A random key for each row: what a row draws depends on no other row.
    limit
        Most tokens of an answer, its end included.
    end
        The token that ends an answer.
    temperature
        0 takes the likeliest token each time; its log-probability is then that at temperature 1.
    """
    drawn = _draw(
        parameters,
        (jnp.asarray(prompts.tokens), jnp.asarray(prompts.lengths)),
        keys,
        jnp.float32(temperature),
        config=config,
        limit=limit,
        end=end,
    )
    tokens, logprobs, mask = jax.device_get(drawn)
    return Answers(tokens, logprobs, mask)


def row_keys(seed: int, places: NDArray[np.int64]) -> jax.Array:
    """Random keys of rows.

    Parameters
    ----------
    seed
        Of the run.
    places
        What each row is for, ``[row, part]``: the same numbers give the same key.
    """
    keys: jax.Array = _folded(jax.random.key(seed), jnp.asarray(places, jnp.uint32))
    return keys


@jax.jit
def _folded(key: jax.Array, places: jax.Array) -> jax.Array:
    def fold(row: jax.Array) -> jax.Array:
        folded = key
        for part in row:
            folded = jax.random.fold_in(folded, part)
        return folded

    return jax.vmap(fold)(places)
