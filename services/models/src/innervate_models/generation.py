"""Answers: tokens chosen one by one, with keys and values kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from innervate_models import model
from innervate_models.chat import prompt_tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from innervate_models.model import Cache, ModelConfig, Parameters
    from innervate_models.tokenizer import Tokenizer

BATCH = 64
"""Rows that are answered together, at most."""
_PAD = 32
"""Prompts are filled up to a multiple of this, so that few programs are compiled."""


def answer(
    parameters: Parameters,
    config: ModelConfig,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    *,
    limit: int = 6,
    temperature: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """Answer questions, each on its own.

    Parameters
    ----------
    parameters, config, tokenizer
        The model.
    prompts
        The questions.
    limit
        Most tokens of an answer.
    temperature
        0 takes the likeliest token; above, tokens are drawn.
    seed
        For the draws.
    progress
        Told how many were answered since the last call.

    Raises
    ------
    ValueError
        A prompt with its answer does not fit the model's context.
    """
    answers: list[str] = []
    for start in range(0, len(prompts), BATCH):
        rows = [prompt_tokens(tokenizer, prompt) for prompt in prompts[start : start + BATCH]]
        made = tokens_after(
            parameters,
            config,
            rows,
            end=tokenizer.end,
            limit=limit,
            temperature=temperature,
            seed=seed + start,
        )
        answers += map(tokenizer.decode, made)
        if progress:
            progress(len(rows))
    return answers


def tokens_after(
    parameters: Parameters,
    config: ModelConfig,
    rows: Sequence[Sequence[int]],
    *,
    end: int,
    limit: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[list[int]]:
    """Go on after token sequences; the end token is not returned.

    Raises
    ------
    ValueError
        A row with `limit` more tokens does not fit the model's context.
    """
    longest = max(map(len, rows))
    if longest + limit > config.context:
        raise ValueError(
            f"{longest} tokens and an answer of {limit} do not fit the model's context of {config.context}"
        )
    count = 1 << (len(rows) - 1).bit_length()  # powers of two, for the same reason as _PAD
    tokens = np.full((count, min(-(-longest // _PAD) * _PAD, config.context)), end, np.int32)
    position = np.ones(count, np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
        position[place] = len(row)
    cache = model.empty_cache(config, batch=count)
    scores, cache = _read(parameters, config, jnp.asarray(tokens), jnp.zeros(count, jnp.int32), cache)
    # What the cache holds of the filling is overwritten, token by token, before anything may look at it.
    last = scores[jnp.arange(count), position - 1]
    keys = jax.random.split(jax.random.key(seed), limit)
    unfinished = np.arange(count) < len(rows)
    made: list[list[int]] = [[] for _ in rows]
    for place in range(limit):
        chosen = _choose(last, keys[place], temperature)
        picked = np.asarray(chosen)
        unfinished &= picked != end
        for row_number in np.flatnonzero(unfinished):
            made[row_number].append(int(picked[row_number]))
        if not unfinished.any() or place == limit - 1:
            break
        scores, cache = _read(parameters, config, chosen[:, None], jnp.asarray(position + place), cache)
        last = scores[:, 0]
    return made


@partial(jax.jit, static_argnums=1)
def _read(
    parameters: Parameters, config: ModelConfig, tokens: jax.Array, start: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    return model.advance(parameters, config, tokens, start, cache)


def _choose(scores: jax.Array, key: jax.Array, temperature: float) -> jax.Array:
    if temperature <= 0:
        return scores.argmax(-1)
    return jax.random.categorical(key, scores / temperature)
