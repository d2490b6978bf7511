"""What a JAX-native environment is: pure functions of arrays, stepped side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    import jax


class Transition(NamedTuple):
    """Where a step leads."""

    state: jax.Array
    reward: jax.Array
    terminated: jax.Array


class Dynamics(NamedTuple):
    """An environment. Its states are vectors; time limits are kept by who steps it."""

    id: str
    observation_size: int
    actions: int
    """Actions are the numbers below this."""
    max_episode_steps: int
    """After so many steps an episode is truncated."""
    reset: Callable[[jax.Array], jax.Array]
    """A random key gives the first state of an episode."""
    observe: Callable[[jax.Array], jax.Array]
    """A state gives what the policy sees."""
    step: Callable[[jax.Array, jax.Array], Transition]
    """State and action give what follows."""
