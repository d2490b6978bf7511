"""First weights: random, but for two layers that begin as a way to look things up.

A small model finds by itself how to answer from facts in its prompt only after
very many examples: one layer must carry the name beside a fact's value and the
name in the question to where they can be compared, another must compare them,
and either is useless without the other. So the first layer's heads begin as
looks at the tokens 2 to 5 places back, and half of the second layer's as
comparisons: of what stands 2 back with what stands 4 back of where the answer
begins, and of 3 with 5, for the answer's next token. A word after a space begins
close to the same word without. All else is drawn at random, and training is free
to change everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from innervate_models.model import shapes

if TYPE_CHECKING:
    from innervate_models.model import ModelConfig, Parameters
    from innervate_models.tokenizer import Tokenizer

_Matrix = np.ndarray[Any, np.dtype[np.float64]]

_EMBEDDING = 0.5
"""Deviation of the embeddings: what the layers add to begin with is of the same size."""
_FINAL_GAIN = 0.15
"""The last norm's, so that the first scores are small although embeddings are not."""
_BACK = (2, 3, 4, 5)
"""Places back that the first layer's heads look at."""
_COMPARED = ((2, 4), (3, 5))
"""Where the name stands, seen from a token of a fact's value and from where that is to be answered."""
_TWIN = 0.3
"""How far apart a word with and a word without a space before it begin, in embeddings' deviations."""
_SHARP_PAIRS = 4
"""Fastest rotary pairs: those tell neighbouring positions apart."""
_SLOW_PAIRS = 6
"""From this one on rotary pairs hardly turn within a prompt: those compare content."""
_LOOK = 30.0
"""Score of a first layer's head at its place."""
_COMPARE = 1.9
"""Size of the comparing matrices: the score of equal names is about 8."""


def initial(config: ModelConfig, *, seed: int, tokenizer: Tokenizer | None = None) -> Parameters:
    """Draw a new model.

    Matrices are normal with deviation 1/sqrt(inputs); what adds to the residual stream
    is scaled down by sqrt(2 · layers) further, as in GPT-2. A model of one layer, or with other
    than four heads that each have their own keys, is wholly random.

    Parameters
    ----------
    config
        Its shape.
    seed
        The same seed gives the same weights.
    tokenizer
        Tells which tokens are one word with and without a space.
    """
    random = np.random.default_rng(seed)
    weights: dict[str, _Matrix] = {}
    for name, shape in shapes(config).items():
        if len(shape) == 1:
            weights[name] = np.ones(shape)
        elif "embed" in name:
            weights[name] = random.normal(0, _EMBEDDING, shape)
        else:
            branch = (2 * config.layers) ** -0.5 if "o_proj" in name or "down_proj" in name else 1.0
            weights[name] = random.normal(0, branch * shape[1] ** -0.5, shape)
    weights["model.norm.weight"] *= _FINAL_GAIN
    embeddings = weights["model.embed_tokens.weight"]
    for spaced, bare in tokenizer.twins() if tokenizer else ():
        embeddings[spaced] = embeddings[bare] + _TWIN * embeddings[spaced]
    if config.layers > 1 and config.heads == config.key_value_heads == len(_BACK):
        _begin_as_lookup(weights, config, random)
    return {name: jnp.asarray(weight, jnp.float32) for name, weight in weights.items()}


def _begin_as_lookup(weights: dict[str, _Matrix], config: ModelConfig, random: np.random.Generator) -> None:
    head, half = config.head_width, config.head_width // 2
    # One number that all embeddings share is what a look at a place, whatever stands there, is made of.
    weights["model.embed_tokens.weight"][:, 0] = _EMBEDDING * config.width**0.5
    shared = (config.width / 2) ** 0.5  # its value after the norm
    content = _directions(config.width, half, random)
    found = _directions(config.width, half * len(_BACK), random)
    found_by = {back: found[:, number * half : (number + 1) * half] for number, back in enumerate(_BACK)}

    # Nothing else is in the directions where names are compared, to begin with.
    for name in ("model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight"):
        weight = weights[name] if "embed" in name else weights[name].T
        weight -= weight @ found @ found.T

    first = "model.layers.0.self_attn"
    weights[f"{first}.q_proj.weight"] *= 0.1
    weights[f"{first}.k_proj.weight"] *= 0.1
    sharp = min(_SHARP_PAIRS, half)
    size = (_LOOK * head**0.5 / sharp) ** 0.5 / shared
    rates = config.rope_theta ** (-np.arange(half) / half)
    for number, back in enumerate(_BACK):
        for pair in range(sharp):
            real, imaginary = number * head + pair, number * head + half + pair
            weights[f"{first}.k_proj.weight"][[real, imaginary], 0] = size, 0
            turned = size * np.cos(back * rates[pair]), -size * np.sin(back * rates[pair])
            weights[f"{first}.q_proj.weight"][[real, imaginary], 0] = turned
        narrow = slice(number * head, number * head + half)
        weights[f"{first}.v_proj.weight"][narrow] = content.T
        weights[f"{first}.o_proj.weight"][:, narrow] = found_by[back]

    second = "model.layers.1.self_attn"
    slow = [place for place in range(head) if place % half >= min(_SLOW_PAIRS, half // 2)][:half]
    for number, (of_value, of_question) in enumerate(_COMPARED):
        rows = [number * head + place for place in slow]
        for part, back in (("k", of_value), ("q", of_question)):
            matrix = weights[f"{second}.{part}_proj.weight"]
            matrix[number * head : (number + 1) * head] = 0
            matrix[rows] = _COMPARE * found_by[back].T


def _directions(width: int, count: int, random: np.random.Generator) -> _Matrix:
    """Orthonormal columns that leave the shared number alone."""
    columns = np.linalg.qr(random.normal(size=(width - 1, count)))[0]
    return np.concatenate([np.zeros((1, count)), columns])
