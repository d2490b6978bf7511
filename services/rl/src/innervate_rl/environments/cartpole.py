"""CartPole-v1 as Gymnasium has it (`gymnasium.envs.classic_control.cartpole`, Euler's method).

Barto, Sutton and Anderson, 1983: a pole on a cart, pushed left (0) or right (1). The state, which is also
the observation, is position, velocity, angle and angular velocity.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from innervate_rl.environments.dynamics import Dynamics, Transition

_GRAVITY = 9.8
_POLE_MASS = 0.1
_TOTAL_MASS = 1.0 + _POLE_MASS
_HALF_LENGTH = 0.5
_POLE_MASS_LENGTH = _POLE_MASS * _HALF_LENGTH
_FORCE = 10.0
_SECONDS = 0.02
_LARGEST_ANGLE = 12 * 2 * math.pi / 360
_LARGEST_POSITION = 2.4


def reset(key: jax.Array) -> jax.Array:
    """All four numbers of the first state lie within 0.05 of nothing."""
    return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)


def observe(state: jax.Array) -> jax.Array:
    """The state is seen as it is."""
    return state


def step(state: jax.Array, action: jax.Array) -> Transition:
    """Push for 0.02 s; every step is worth 1, also the one in which the pole falls."""
    x, velocity, angle, spin = state
    force = jnp.where(action == 1, _FORCE, -_FORCE)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    push = (force + _POLE_MASS_LENGTH * spin**2 * sine) / _TOTAL_MASS
    turn = (_GRAVITY * sine - cosine * push) / (
        _HALF_LENGTH * (4.0 / 3.0 - _POLE_MASS * cosine**2 / _TOTAL_MASS)
    )
    acceleration = push - _POLE_MASS_LENGTH * turn * cosine / _TOTAL_MASS
    x = x + _SECONDS * velocity
    velocity = velocity + _SECONDS * acceleration
    angle = angle + _SECONDS * spin
    spin = spin + _SECONDS * turn
    fallen = (jnp.abs(x) > _LARGEST_POSITION) | (jnp.abs(angle) > _LARGEST_ANGLE)
    return Transition(jnp.stack([x, velocity, angle, spin]), jnp.ones_like(x), fallen)


CARTPOLE = Dynamics("CartPole-v1", 4, 2, 500, reset, observe, step)
