"""What GRPO improves: advantages, ratios, divergences, and how tokens share a loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from innervate_rl.grpo import lora
from innervate_rl.grpo.advantages import advantages
from innervate_rl.grpo.hyperparameters import Hyperparameters, LossNormalization
from innervate_rl.grpo.objective import Experience, TokenStatistics, k3, loss, statistics
from innervate_rl.grpo.policy import Learner
from innervate_rl.grpo.sampling import draw, prompts_of, row_keys

NAN = float("nan")


def test_advantages_are_relative_to_the_group():
    rewards = np.array([[1.0, 0.0, 0.0, 1.0], [3.0, 3.0, 3.0, 3.0]])
    plain = advantages(rewards, normalize=False)
    np.testing.assert_allclose(plain, [[0.5, -0.5, -0.5, 0.5], [0, 0, 0, 0]])
    # The deviation of a sample of two ones and two zeros is the root of a third.
    normal = advantages(rewards, normalize=True)
    np.testing.assert_allclose(normal[0], np.array([0.5, -0.5, -0.5, 0.5]) * 3**0.5, rtol=1e-3)
    np.testing.assert_array_equal(normal[1], 0)


@pytest.mark.parametrize("normalize", [True, False])
def test_void_answers_have_no_part_in_advantages(normalize):
    with_void = advantages(np.array([[1.0, NAN, 0.0, NAN]]), normalize=normalize)[0]
    without = advantages(np.array([[1.0, 0.0]]), normalize=normalize)[0]
    np.testing.assert_array_equal(with_void[[0, 2]], without)
    np.testing.assert_array_equal(with_void[[1, 3]], 0)
    np.testing.assert_array_equal(advantages(np.array([[5.0, NAN], [NAN, NAN]]), normalize=normalize), 0)


def experience(**fields):
    shape = (2, 4)
    given = {
        "tokens": np.zeros((2, 8), np.int32),
        "lengths": np.ones(2, np.int32),
        "mask": np.array([[1, 1, 1, 1], [1, 0, 0, 0]], np.float32),
        "advantages": np.array([[1.0] * 4, [-1.0] * 4], np.float32),
        "behaviour": np.zeros(shape, np.float32),
        "proximal": np.zeros(shape, np.float32),
        "reference": np.zeros(shape, np.float32),
    }
    return Experience(**given | fields)


def value(logprobs, fields=None, entropy=0.0, **settings):
    current = TokenStatistics(jnp.asarray(logprobs), jnp.full((2, 4), entropy))
    chosen = Hyperparameters(**{"kl_coefficient": 0.0} | settings)
    return loss(current, experience(**fields or {}), chosen)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        # Advantages 1 for four tokens and -1 for one.
        (LossNormalization.SEQUENCE, (-1 + 1) / 2),
        (LossNormalization.TOKEN, (-4 + 1) / 5),
        (LossNormalization.CONSTANT, (-4 + 1) / 8),
    ],
)
def test_tokens_share_the_loss_as_is_said(normalization, expected):
    total, _ = value(np.zeros((2, 4)), loss_normalization=normalization)
    assert float(total) == pytest.approx(expected)


def test_a_token_that_moved_far_enough_counts_no_more():
    far = np.full((2, 4), np.log(1.5), np.float32)
    gradient = jax.grad(lambda logprobs: value(logprobs)[0])(far)
    # Wanted and far: nothing more. Unwanted and far: back.
    np.testing.assert_array_equal(gradient[0], 0)
    assert gradient[1, 0] > 0
    np.testing.assert_array_equal(gradient[1, 1:], 0)
    total, metrics = value(far, clip_high=0.3, loss_normalization=LossNormalization.TOKEN)
    assert float(total) == pytest.approx((-4 * 1.3 + 1.5) / 5)
    assert float(metrics.clipped) == pytest.approx(4 / 5)


def test_old_experience_is_weighted_up_to_a_cap():
    fields = {"behaviour": np.full((2, 4), -np.log(1.5), np.float32)}
    weighted, metrics = value(np.zeros((2, 4)), fields, loss_normalization=LossNormalization.TOKEN)
    assert float(weighted) == pytest.approx(1.5 * -3 / 5)
    assert float(metrics.weight) == pytest.approx(1.5)
    capped, _ = value(np.zeros((2, 4)), fields, loss_normalization="Token", importance_cap=1.2)
    assert float(capped) == pytest.approx(1.2 * -3 / 5)
    plain, _ = value(np.zeros((2, 4)), fields, loss_normalization="Token", importance_correction=False)
    assert float(plain) == pytest.approx(-3 / 5)


def test_divergence_is_estimated_without_bias_and_never_negative():
    current, reference = (jax.nn.log_softmax(jnp.array(row)) for row in ([1.0, 2.0, 0.5], [0.3, 0.1, 2.0]))
    each = k3(reference, current)
    assert (each >= 0).all()
    exact = (jnp.exp(current) * (current - reference)).sum()
    assert float((jnp.exp(current) * each).sum()) == pytest.approx(float(exact), rel=1e-5)
    assert float(k3(current, current).sum()) == 0


def test_divergence_and_entropy_have_their_price():
    fields = {"advantages": np.zeros((2, 4), np.float32), "reference": np.full((2, 4), 0.5, np.float32)}
    token = {"loss_normalization": "Token", "entropy_coefficient": 0.25}
    total, metrics = value(np.zeros((2, 4)), fields, entropy=2.0, kl_coefficient=0.1, **token)
    divergence = np.exp(0.5) - 1.5
    assert float(metrics.kl) == pytest.approx(divergence)
    assert float(metrics.entropy) == pytest.approx(2.0)
    assert float(total) == pytest.approx(0.1 * divergence - 0.25 * 2.0)


def rows_of(tiny, texts):
    return [tiny.tokenizer.encode_plain(text) for text in texts]


def drawn(tiny, texts, places, end=None):
    return draw(
        tiny.parameters,
        tiny.config,
        prompts_of(rows_of(tiny, texts), length=24, fill=tiny.tokenizer.end),
        keys=row_keys(3, np.array(places)),
        limit=6,
        end=tiny.tokenizer.end if end is None else end,
        temperature=1.3,
    )


def test_probabilities_while_drawing_are_those_of_reading_it_again(tiny):
    texts = ["Reverse 123.", "What is 5 plus 7?", "a", "Reverse 99999."]
    answers = drawn(tiny, texts, [(0, 1, member) for member in range(4)])
    tokens, lengths = np.full((4, 30), tiny.tokenizer.end, np.int32), np.zeros(4, np.int32)
    for row, asked in enumerate(rows_of(tiny, texts)):
        lengths[row] = len(asked)
        tokens[row, : len(asked)] = asked
        tokens[row, len(asked) : len(asked) + 6] = answers.tokens[row]
    again = statistics(
        tiny.parameters, jnp.asarray(tokens), jnp.asarray(lengths), 1.3, config=tiny.config, limit=6
    )
    np.testing.assert_allclose(again.logprobs, answers.logprobs, atol=1e-4)
    assert (again.entropy > 0).all()


def test_what_a_row_draws_depends_on_no_other_row(tiny):
    texts, places = ["Reverse 123.", "a", "b", "c"], [(0, 7, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2)]
    alone = drawn(tiny, texts, places)
    other = drawn(tiny, ["x", "Reverse 123.", "y", "z"], [(0, 2, 2), (0, 7, 1), (0, 9, 9), (0, 9, 8)])
    np.testing.assert_array_equal(alone.tokens[0], other.tokens[1])
    assert not np.array_equal(alone.tokens[0], drawn(tiny, texts, [(0, 8, 1), *places[1:]]).tokens[0])


def test_an_answer_counts_up_to_its_end(tiny):
    texts, places = ["a", "b", "c", "d"], [(0, 0, member) for member in range(4)]
    free = drawn(tiny, texts, places)
    # The same again, but what the first answer has third ends answers now.
    end = int(free.tokens[0, 2])
    assert end not in free.tokens[0, :2]
    ended = drawn(tiny, texts, places, end=end)
    np.testing.assert_array_equal(ended.tokens[0, :3], free.tokens[0, :3])
    np.testing.assert_array_equal(ended.mask[0], [1, 1, 1, 0, 0, 0])
    assert ended.mask[1:].all() == (end not in free.tokens[1:, :5])


def test_long_prompts_are_refused():
    with pytest.raises(ValueError, match="a prompt of 5 tokens does not fit 4"):
        prompts_of([[1, 2, 3, 4, 5]], length=4, fill=0)


def test_an_adapter_begins_as_nothing_and_is_all_that_learns(tiny):
    learner = Learner(tiny, Hyperparameters(lora_rank=2, prompts=2, answer_tokens=4), seed=0)
    policy = learner.begin(tiny.parameters)
    for name, weight in learner.parameters(policy).items():
        np.testing.assert_array_equal(weight, tiny.parameters[name])
    tokens = np.arange(16, dtype=np.int32).reshape(2, 8)
    better, _ = learner.improve(policy, experience(tokens=tokens))
    for name, weight in better.reference.items():
        np.testing.assert_array_equal(weight, tiny.parameters[name])
    changed = {
        name
        for name, weight in learner.parameters(better).items()
        if not np.array_equal(weight, tiny.parameters[name])
    }
    assert changed == {name for name in tiny.parameters if name.endswith("_proj.weight")}
    pair = lora.initial(tiny.parameters, rank=2, seed=0)["model.layers.0.mlp.up_proj.weight"]
    assert pair.down.shape == (2, 16)
    assert not pair.up.any()
