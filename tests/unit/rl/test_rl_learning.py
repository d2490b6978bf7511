"""What PPO learns from a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from innervate_rl.ppo import learning, network
from innervate_rl.ppo.hyperparameters import Hyperparameters

TIME, COUNT, SIZE, ACTIONS = 8, 4, 3, 2
CHOSEN = Hyperparameters(environments=COUNT, rollout_steps=TIME, batch=16, epochs=2)


@pytest.fixture
def parameters():
    return {name: jnp.asarray(array) for name, array in network.initial(SIZE, ACTIONS, [8], seed=1).items()}


@pytest.fixture
def batch(parameters):
    random = np.random.default_rng(2)
    shape = (TIME, COUNT)
    observations = random.normal(size=(*shape, SIZE)).astype(np.float32)
    actions = random.integers(0, ACTIONS, shape).astype(np.int32)
    everything = np.asarray(jax.nn.log_softmax(network.logits(parameters, observations)))
    return learning.Batch(
        observations,
        actions,
        np.take_along_axis(everything, actions[..., None], axis=-1)[..., 0],
        random.normal(size=shape).astype(np.float32),
        terminated=random.random(shape) < 0.2,
        truncated=random.random(shape) < 0.2,
        finals=random.normal(size=(*shape, SIZE)).astype(np.float32),
        valid=np.ones(shape, bool),
        last=random.normal(size=(COUNT, SIZE)).astype(np.float32),
    )


compiled = jax.jit(learning.learn, static_argnames=("chosen", "updates"))


def learn(parameters, batch, chosen=CHOSEN, *, key=0, done=0):
    learner = learning.begin(parameters)._replace(updates=jnp.asarray(done, jnp.int32))
    return compiled(learner, batch, jax.random.PRNGKey(key), chosen=chosen, updates=10)


def test_advantages_are_those_of_the_definition(parameters, batch):
    """Sum of discounted surprises up to the episode's end; a truncated episode ends in a value."""
    values = np.asarray(network.value(parameters, batch.observations))
    beyond = np.asarray(network.value(parameters, batch.finals))
    last = np.asarray(network.value(parameters, batch.last))
    expected = np.zeros((TIME, COUNT))
    for place in range(COUNT):
        for start in range(TIME):
            weight = 1.0
            for at in range(start, TIME):
                after = last[place] if at == TIME - 1 else values[at + 1, place]
                if batch.terminated[at, place]:
                    after = 0.0
                elif batch.truncated[at, place]:
                    after = beyond[at, place]
                surprise = batch.rewards[at, place] + CHOSEN.gamma * after - values[at, place]
                expected[start, place] += weight * surprise
                if batch.terminated[at, place] or batch.truncated[at, place]:
                    break
                weight *= CHOSEN.gamma * CHOSEN.gae_lambda
    sample = learning._sample(parameters, batch, CHOSEN)
    advantages = np.asarray(sample.advantages).reshape(TIME, COUNT)
    np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-5)
    returns = np.asarray(sample.returns).reshape(TIME, COUNT)
    np.testing.assert_allclose(returns, expected + values, rtol=1e-4, atol=1e-5)


def test_nothing_is_learned_from_steps_of_void_episodes(parameters, batch):
    """Whatever they hold; the rest of their column begins after them."""
    valid = batch.valid.copy()
    valid[:5, 1] = False
    ended = batch.truncated.copy()
    ended[4, 1] = True
    random = np.random.default_rng(3)

    def with_void(rewards):
        changed = batch.rewards.copy()
        changed[:5, 1] = rewards
        return batch._replace(valid=valid, truncated=ended, rewards=changed)

    one, _ = learn(parameters, with_void(0.0))
    other, _ = learn(parameters, with_void(random.normal(size=5) * 100))
    assert all(np.array_equal(one.parameters[name], other.parameters[name]) for name in parameters)
    counted, _ = learn(parameters, with_void(0.0)._replace(valid=np.ones_like(valid)))
    assert any(not np.array_equal(one.parameters[name], counted.parameters[name]) for name in parameters)


def test_what_pays_becomes_likelier(parameters, batch):
    rewards = np.where(batch.actions == 1, 1.0, -1.0).astype(np.float32)
    one_step = batch._replace(rewards=rewards, terminated=np.ones_like(batch.terminated))
    after, measures = learn(parameters, one_step)
    before = jax.nn.softmax(network.logits(parameters, batch.observations))[..., 1].mean()
    assert jax.nn.softmax(network.logits(after.parameters, batch.observations))[..., 1].mean() > before
    assert float(measures.entropy) == pytest.approx(np.log(2), abs=0.01)
    assert float(measures.kl) > 0


def test_rates_fall_to_nothing_with_the_last_update(parameters, batch):
    after, _ = learn(parameters, batch, done=10)
    assert all(np.allclose(after.parameters[name], parameters[name], atol=1e-7) for name in parameters)
    constant = CHOSEN.model_copy(update={"learning_rate_schedule": "Constant"})
    moved, _ = learn(parameters, batch, constant, done=10)
    assert not np.allclose(moved.parameters["policy.0.weight"], parameters["policy.0.weight"], atol=1e-7)


def test_a_batch_of_all_steps_needs_no_order(parameters, batch):
    whole = CHOSEN.model_copy(update={"batch": TIME * COUNT})
    one, other = (learn(parameters, batch, whole, key=key)[0] for key in (0, 1))
    assert all(np.array_equal(one.parameters[name], other.parameters[name]) for name in parameters)


def test_weights_are_orthogonal_and_come_from_the_seed():
    first, again = (network.initial(4, 2, [64, 64], seed=5) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    inner = first["policy.1.weight"]
    np.testing.assert_allclose(inner @ inner.T, 2 * np.eye(64), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(first["policy.2.weight"], axis=0), 0.01, rtol=1e-5)
    other = network.initial(4, 2, [64, 64], seed=6)
    assert not np.array_equal(inner, other["policy.1.weight"])
