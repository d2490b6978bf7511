"""Acrobot-v1 as Gymnasium has it (`gymnasium.envs.classic_control.acrobot`, the book's equations).

Sutton and Barto, "Reinforcement Learning: An Introduction": two links hang from a fixed joint, a motor
turns the joint between them, and the free end is to swing above a line. The state is both angles and their
velocities; seen are the angles' cosines and sines and the velocities.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from innervate_rl.environments.dynamics import Dynamics, Transition

_GRAVITY = 9.8
_MASS = 1.0
_LENGTH = 1.0
_CENTER = 0.5
"""Of a link's mass, from its joint."""
_INERTIA = 1.0
_SECONDS = 0.2
_FASTEST = (4 * math.pi, 9 * math.pi)


def reset(key: jax.Array) -> jax.Array:
    """All four numbers of the first state lie within 0.1 of nothing."""
    return jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)


def observe(state: jax.Array) -> jax.Array:
    """Angles are seen as points on a circle."""
    first, second, first_speed, second_speed = state
    return jnp.stack(
        [jnp.cos(first), jnp.sin(first), jnp.cos(second), jnp.sin(second), first_speed, second_speed]
    )


def step(state: jax.Array, action: jax.Array) -> Transition:
    """Apply a torque of -1, 0 or 1 for 0.2 s (Runge-Kutta); a step costs 1 until the line is reached."""
    torque = action.astype(state.dtype) - 1
    k1 = _derivative(state, torque)
    k2 = _derivative(state + _SECONDS / 2 * k1, torque)
    k3 = _derivative(state + _SECONDS / 2 * k2, torque)
    k4 = _derivative(state + _SECONDS * k3, torque)
    first, second, first_speed, second_speed = state + _SECONDS / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    first, second = _wrapped(first), _wrapped(second)
    reached = -jnp.cos(first) - jnp.cos(second + first) > 1
    followed = jnp.stack(
        [
            first,
            second,
            jnp.clip(first_speed, -_FASTEST[0], _FASTEST[0]),
            jnp.clip(second_speed, -_FASTEST[1], _FASTEST[1]),
        ]
    )
    return Transition(followed, jnp.where(reached, 0.0, -1.0).astype(state.dtype), reached)


def _derivative(state: jax.Array, torque: jax.Array) -> jax.Array:
    first, second, first_speed, second_speed = state
    cosine, sine = jnp.cos(second), jnp.sin(second)
    swing = _MASS * _LENGTH * _CENTER * sine
    d1 = _MASS * _CENTER**2 + _MASS * (_LENGTH**2 + _CENTER**2 + 2 * _LENGTH * _CENTER * cosine)
    d1 = d1 + 2 * _INERTIA
    d2 = _MASS * (_CENTER**2 + _LENGTH * _CENTER * cosine) + _INERTIA
    # cos(x - π/2) = sin(x)
    phi2 = _MASS * _CENTER * _GRAVITY * jnp.sin(first + second)
    phi1 = -swing * second_speed**2 - 2 * swing * second_speed * first_speed + phi2
    phi1 = phi1 + (_MASS * _CENTER + _MASS * _LENGTH) * _GRAVITY * jnp.sin(first)
    second_change = (torque + d2 / d1 * phi1 - swing * first_speed**2 - phi2) / (
        _MASS * _CENTER**2 + _INERTIA - d2**2 / d1
    )
    return jnp.stack([first_speed, second_speed, -(d2 * second_change + phi1) / d1, second_change])


def _wrapped(angle: jax.Array) -> jax.Array:
    return angle - 2 * math.pi * jnp.floor((angle + math.pi) / (2 * math.pi))


ACROBOT = Dynamics("Acrobot-v1", 6, 3, 500, reset, observe, step)
