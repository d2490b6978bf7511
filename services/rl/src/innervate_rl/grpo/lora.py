"""Low-rank matrices beside a model's own (LoRA, arXiv:2106.09685)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from innervate_models.model import Parameters


class Pair(NamedTuple):
    """What is added to a matrix ``[out, in]`` is ``up @ down``, scaled."""

    down: jax.Array
    """``[rank, in]``"""
    up: jax.Array
    """``[out, rank]``"""


Adapter = dict[str, Pair]
"""A pair for each matrix that is adapted."""


def initial(parameters: Parameters, *, rank: int, seed: int) -> Adapter:
    """An adapter that changes nothing yet, for every projection of every layer."""
    random = np.random.default_rng(seed)
    adapter = {}
    for name, weight in parameters.items():
        if name.endswith("_proj.weight"):
            out, into = weight.shape
            down = random.normal(0, into**-0.5, (rank, into))
            adapter[name] = Pair(jnp.asarray(down, jnp.float32), jnp.zeros((out, rank), jnp.float32))
    return adapter


def merged(parameters: Parameters, adapter: Adapter, *, scale: float) -> Parameters:
    """The model with the adapter in its matrices: it needs nothing else to be served."""
    return {
        name: weight + scale * (adapter[name].up @ adapter[name].down) if name in adapter else weight
        for name, weight in parameters.items()
    }
