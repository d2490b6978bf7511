"""A llama-architecture transformer: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

Parameters are a flat mapping under the names that Hugging Face gives them, in
float32, with matrices as ``[out, in]``. Rotation pairs a dimension with the one
half a head away, as Hugging Face does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Parameters = dict[str, jax.Array]


class ModelConfig(NamedTuple):
    """The shape of a model. Output and input embeddings are one matrix."""

    vocabulary: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    hidden: int = 256
    """Width of the feed-forward part."""
    context: int = 128
    """Positions."""
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads


class Cache(NamedTuple):
    """Keys and values of the positions read so far, ``[layer, batch, position, kv head, width]``."""

    keys: jax.Array
    values: jax.Array


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The parameters' names and shapes, in a fixed order."""
    narrow = config.key_value_heads * config.head_width
    made: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocabulary, config.width)}
    for layer in range(config.layers):
        name = f"model.layers.{layer}"
        made |= {
            f"{name}.input_layernorm.weight": (config.width,),
            f"{name}.self_attn.q_proj.weight": (config.width, config.width),
            f"{name}.self_attn.k_proj.weight": (narrow, config.width),
            f"{name}.self_attn.v_proj.weight": (narrow, config.width),
            f"{name}.self_attn.o_proj.weight": (config.width, config.width),
            f"{name}.post_attention_layernorm.weight": (config.width,),
            f"{name}.mlp.gate_proj.weight": (config.hidden, config.width),
            f"{name}.mlp.up_proj.weight": (config.hidden, config.width),
            f"{name}.mlp.down_proj.weight": (config.width, config.hidden),
        }
    return made | {"model.norm.weight": (config.width,)}


def logits(
    parameters: Parameters, config: ModelConfig, tokens: jax.Array, *, at: jax.Array | None = None
) -> jax.Array:
    """Scores of the next token.

    Parameters
    ----------
    parameters, config
        The model.
    tokens
        Ids, ``[batch, position]``.
    at
        Positions that matter, ``[batch, number]``; all of them where it is None.

    Returns
    -------
    jax.Array
        ``[batch, position, vocabulary]``, or ``[batch, number, vocabulary]``.
    """
    places = jnp.arange(tokens.shape[1])[None, :]
    hidden, _ = _run(parameters, config, tokens, places, None)
    if at is not None:
        hidden = jnp.take_along_axis(hidden, at[:, :, None], axis=1)
    return hidden @ parameters["model.embed_tokens.weight"].T


def empty_cache(config: ModelConfig, *, batch: int) -> Cache:
    """A cache of `context` positions of which none is read."""
    shape = (config.layers, batch, config.context, config.key_value_heads, config.head_width)
    return Cache(jnp.zeros(shape), jnp.zeros(shape))


def advance(
    parameters: Parameters, config: ModelConfig, tokens: jax.Array, start: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    """Read some tokens with what the cache holds before them.

    Parameters
    ----------
    parameters, config
        The model.
    tokens
        Ids, ``[batch, position]``.
    start
        Position of each row's first token, ``[batch]``.
    cache
        Of the positions before; what it holds behind them is never looked at.

    Returns
    -------
    tuple
        Scores ``[batch, position, vocabulary]`` and the cache with these positions.
    """
    places = start[:, None] + jnp.arange(tokens.shape[1])[None, :]
    hidden, cache = _run(parameters, config, tokens, places, cache)
    return hidden @ parameters["model.embed_tokens.weight"].T, cache


def _visible(places: jax.Array, length: int) -> jax.Array:
    """Which positions each may look at, ``[batch, 1, 1, position, length]``."""
    return (jnp.arange(length) <= places[..., None])[:, None, None]


def _run(
    parameters: Parameters,
    config: ModelConfig,
    tokens: jax.Array,
    places: jax.Array,
    cache: Cache | None,
) -> tuple[jax.Array, Any]:
    hidden = parameters["model.embed_tokens.weight"][tokens]
    rotation = _rotation(config, places)
    visible = _visible(places, tokens.shape[1] if cache is None else config.context)
    keys, values = [], []
    for layer in range(config.layers):
        name = f"model.layers.{layer}"
        normed = _norm(hidden, parameters[f"{name}.input_layernorm.weight"], config)
        query, key, value = (
            _heads(normed @ parameters[f"{name}.self_attn.{part}_proj.weight"].T, config) for part in "qkv"
        )
        query, key = _rotate(query, rotation), _rotate(key, rotation)
        if cache is not None:
            key = _put(cache.keys[layer], key, places[:, 0])
            value = _put(cache.values[layer], value, places[:, 0])
            keys.append(key)
            values.append(value)
        mixed = _attend(query, key, value, visible)
        hidden = hidden + mixed @ parameters[f"{name}.self_attn.o_proj.weight"].T
        normed = _norm(hidden, parameters[f"{name}.post_attention_layernorm.weight"], config)
        gate = jax.nn.silu(normed @ parameters[f"{name}.mlp.gate_proj.weight"].T)
        up = normed @ parameters[f"{name}.mlp.up_proj.weight"].T
        hidden = hidden + (gate * up) @ parameters[f"{name}.mlp.down_proj.weight"].T
    hidden = _norm(hidden, parameters["model.norm.weight"], config)
    return hidden, None if cache is None else Cache(jnp.stack(keys), jnp.stack(values))


def _put(cached: jax.Array, fresh: jax.Array, start: jax.Array) -> jax.Array:
    return jax.vmap(lambda row, new, at: jax.lax.dynamic_update_slice_in_dim(row, new, at, axis=0))(
        cached, fresh, start
    )


def _norm(hidden: jax.Array, weight: jax.Array, config: ModelConfig) -> jax.Array:
    square = jnp.mean(hidden * hidden, axis=-1, keepdims=True)
    return hidden * jax.lax.rsqrt(square + config.norm_epsilon) * weight


def _heads(wide: jax.Array, config: ModelConfig) -> jax.Array:
    return wide.reshape(*wide.shape[:2], -1, config.head_width)


def _rotation(config: ModelConfig, places: jax.Array) -> tuple[jax.Array, jax.Array]:
    half = config.head_width // 2
    rates = config.rope_theta ** (-jnp.arange(half) / half)
    angles = (places[..., None] * rates)[:, :, None, :]
    return jnp.cos(angles), jnp.sin(angles)


def _rotate(heads: jax.Array, rotation: tuple[jax.Array, jax.Array]) -> jax.Array:
    cosine, sine = rotation
    first, second = jnp.split(heads, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def _attend(query: jax.Array, key: jax.Array, value: jax.Array, visible: jax.Array) -> jax.Array:
    batch, length, heads, width = query.shape
    groups = query.reshape(batch, length, key.shape[2], -1, width)
    scores = jnp.einsum("bqhgd,bkhd->bhgqk", groups, key) * width**-0.5
    weights = jax.nn.softmax(jnp.where(visible, scores, -jnp.inf), axis=-1)
    return jnp.einsum("bhgqk,bkhd->bqhgd", weights, value).reshape(batch, length, heads * width)
