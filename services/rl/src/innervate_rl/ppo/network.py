"""The policy and the value of a state: two networks of fully connected layers with tanh between."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Parameters = dict[str, jax.Array]
"""``policy.0.weight`` is ``[in, out]`` of the policy's first layer; ``value.…`` likewise."""
POLICY, VALUE = "policy", "value"
_HIDDEN_GAIN, _POLICY_GAIN, _VALUE_GAIN = math.sqrt(2), 0.01, 1.0


def initial(
    observation_size: int, actions: int, hidden: Sequence[int], *, seed: int
) -> dict[str, np.ndarray[Any, Any]]:
    """Orthogonal weights, biases of nothing: gains as in Stable-Baselines3.

    Made by numpy: compiling QR decompositions for JAX takes longer than training on small tasks.
    """
    random = np.random.default_rng([seed, 0])
    parameters = {}
    for network, outputs, gain in ((POLICY, actions, _POLICY_GAIN), (VALUE, 1, _VALUE_GAIN)):
        sizes = [observation_size, *hidden, outputs]
        for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            last = layer == len(hidden)
            weight = _orthogonal(random, fan_in, fan_out) * (gain if last else _HIDDEN_GAIN)
            parameters[f"{network}.{layer}.weight"] = weight.astype(np.float32)
            parameters[f"{network}.{layer}.bias"] = np.zeros(fan_out, np.float32)
    return parameters


def layers(parameters: Parameters) -> int:
    """Layers of each network, the last one included."""
    return sum(name.startswith(f"{POLICY}.") for name in parameters) // 2


def logits(parameters: Parameters, observations: jax.Array) -> jax.Array:
    """Scores of actions, ``[..., action]``."""
    return _forward(parameters, POLICY, observations)


def value(parameters: Parameters, observations: jax.Array) -> jax.Array:
    """What is to be expected from here on, ``[...]``."""
    return _forward(parameters, VALUE, observations)[..., 0]


def _forward(parameters: Parameters, network: str, x: jax.Array) -> jax.Array:
    count = layers(parameters)
    for layer in range(count):
        x = x @ parameters[f"{network}.{layer}.weight"] + parameters[f"{network}.{layer}.bias"]
        if layer < count - 1:
            x = jnp.tanh(x)
    return x


def _orthogonal(random: np.random.Generator, rows: int, columns: int) -> np.ndarray[Any, Any]:
    tall, wide = max(rows, columns), min(rows, columns)
    basis, triangle = np.linalg.qr(random.standard_normal((tall, wide)))
    basis = basis * np.sign(np.diag(triangle))
    return basis if rows >= columns else basis.T
