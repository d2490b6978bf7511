"""Environments in JAX take Gymnasium's steps."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from innervate_rl.environments.acrobot import ACROBOT
from innervate_rl.environments.cartpole import CARTPOLE

ALL = [pytest.param(CARTPOLE, id="cartpole"), pytest.param(ACROBOT, id="acrobot")]


@pytest.mark.parametrize("dynamics", ALL)
def test_every_step_is_gymnasiums(dynamics):
    """In double precision, which Gymnasium computes in, to the last digits."""
    with jax.enable_x64(True):
        step, observe = jax.jit(dynamics.step), jax.jit(dynamics.observe)
        random = np.random.default_rng(1)
        ends = 0
        for seed in range(8):
            environment = gymnasium.make(dynamics.id)
            observation, _ = environment.reset(seed=seed)
            state = jnp.asarray(environment.unwrapped.state, jnp.float64)
            assert state.shape == (4,)
            for _ in range(200):
                np.testing.assert_allclose(observe(state), observation, rtol=1e-5, atol=1e-6)
                # Pushed the way it turns: an acrobot that is pushed at random never swings up.
                along = int(state[3] > 0) * (dynamics.actions - 1)
                action = along if random.random() < 0.8 else int(random.integers(dynamics.actions))
                observation, reward, terminated, _, _ = environment.step(action)
                transition = step(state, jnp.asarray(action))
                expected = np.asarray(environment.unwrapped.state, np.float64)
                np.testing.assert_allclose(transition.state, expected, rtol=1e-9, atol=1e-9)
                assert bool(transition.terminated) == terminated
                assert float(transition.reward) == reward
                # Each step from where Gymnasium is: an acrobot's smallest differences grow with every step.
                state = jnp.asarray(expected)
                if terminated:
                    ends += 1
                    break
        assert ends > 0


@pytest.mark.parametrize("dynamics", ALL)
def test_spaces_and_limits_are_gymnasiums(dynamics):
    environment = gymnasium.make(dynamics.id)
    assert environment.observation_space.shape == (dynamics.observation_size,)
    assert environment.action_space.n == dynamics.actions
    assert environment.spec.max_episode_steps == dynamics.max_episode_steps


@pytest.mark.parametrize(("dynamics", "bound"), [(CARTPOLE, 0.05), (ACROBOT, 0.1)])
def test_first_states_fill_gymnasiums_range(dynamics, bound):
    states = jax.vmap(dynamics.reset)(jax.random.split(jax.random.PRNGKey(0), 500))
    assert float(jnp.abs(states).max()) <= bound
    assert float(states.max()) > 0.95 * bound
    assert float(states.min()) < -0.95 * bound
    assert abs(float(states.mean())) < 0.1 * bound
