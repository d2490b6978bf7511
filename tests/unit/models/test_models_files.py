"""Model, chat template and files: what is written comes back, the same bytes each time."""

import json

import gguf
import jax
import jax.numpy as jnp
import jinja2
import numpy as np
import pytest
from innervate_models import artifact, chat, generation, model, topics
from innervate_models.initialization import initial
from innervate_models.tokenizer import learn
from innervate_models.training import Schedule, batch_of, begin, step_function

TOKENIZER = learn(topics.words())
TINY = model.ModelConfig(
    vocabulary=len(TOKENIZER), width=16, layers=2, heads=4, key_value_heads=4, hidden=24, context=64
)


@pytest.fixture(scope="module")
def tiny():
    return artifact.Model(TINY, initial(TINY, seed=3, tokenizer=TOKENIZER), TOKENIZER)


def test_reading_with_a_cache_gives_what_reading_at_once_gives(tiny):
    tokens = jnp.asarray([TOKENIZER.encode("Ada lives in Rome. Bob lives in Oslo.")] * 2)
    whole = jax.jit(model.logits, static_argnums=1)(tiny.parameters, TINY, tokens)
    advance = jax.jit(model.advance, static_argnums=1)
    cache = model.empty_cache(TINY, batch=2)
    start = jnp.zeros(2, jnp.int32)
    first, cache = advance(tiny.parameters, TINY, tokens[:, :4], start, cache)
    second, _ = advance(tiny.parameters, TINY, tokens[:, 4:], start + 4, cache)
    np.testing.assert_allclose(jnp.concatenate([first, second], axis=1), whole, atol=1e-5)


def test_answers_do_not_depend_on_who_else_is_asked(tiny):
    prompts = [example.prompt for example in topics.generate(topics.TOPICS, seed=1, count=9)]
    together = generation.answer(tiny.parameters, TINY, TOKENIZER, prompts, temperature=0.0)
    alone = [generation.answer(tiny.parameters, TINY, TOKENIZER, [prompt])[0] for prompt in prompts[:3]]
    assert together[:3] == alone


def test_a_temperature_draws_by_its_seed(tiny):
    def drawn(seed):
        return generation.answer(tiny.parameters, TINY, TOKENIZER, ["Ada?"] * 8, temperature=1.0, seed=seed)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_prompt_beyond_the_context_is_refused(tiny):
    with pytest.raises(ValueError, match="do not fit the model's context of 64"):
        generation.answer(tiny.parameters, TINY, TOKENIZER, ["Ada likes tea. " * 20])


def test_the_template_gives_the_tokens_of_training():
    environment = jinja2.Environment()  # noqa: S701  what it makes is no HTML
    template = environment.from_string(chat.TEMPLATE)
    turns = (("Ada likes tea. What does Ada like?", "tea"), ("Sure?", "yes"))
    messages = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    trained = chat.conversation_tokens(TOKENIZER, turns, limit=64)
    assert TOKENIZER.encode(template.render(messages=messages)) == trained.tokens
    asked = template.render(messages=messages[:1], add_generation_prompt=True)
    assert TOKENIZER.encode(asked) == chat.prompt_tokens(TOKENIZER, turns[0][0])
    learned = [token for token, told in zip(trained.tokens, trained.learned, strict=True) if told]
    assert learned == [*TOKENIZER.encode("tea<|end|>"), *TOKENIZER.encode("yes<|end|>")]


def test_turns_that_do_not_fit_are_left_out_whole():
    turns = (("one", "two"), ("three", "four"))
    whole = chat.conversation_tokens(TOKENIZER, turns, limit=64)
    first = chat.conversation_tokens(TOKENIZER, turns[:1], limit=64)
    assert chat.conversation_tokens(TOKENIZER, turns, limit=len(whole.tokens) - 1) == first


def test_a_few_steps_learn_one_batch(tiny):
    schedule = Schedule(steps=40, peak=2e-2, warmup=2)
    rows = [
        chat.conversation_tokens(TOKENIZER, [(example.prompt, example.answer)], limit=64)
        for example in topics.generate(("colors",), seed=1, count=4)
    ]
    batch = batch_of(rows, length=48, fill=TOKENIZER.end)
    step = step_function(TINY, schedule)
    losses = []
    for _ in range(2):
        state = begin(tiny.parameters, schedule)
        for _ in range(40):
            state, loss = step(state, batch)
        losses.append(float(loss))
    assert losses[0] < 1.5  # from 6.6, the logarithm of the vocabulary
    assert losses[0] == losses[1]


def test_a_batch_refuses_what_is_too_long():
    row = chat.conversation_tokens(TOKENIZER, [("Ada likes tea.", "yes")], limit=64)
    with pytest.raises(ValueError, match="the batch 4 positions"):
        batch_of([row], length=4, fill=TOKENIZER.end)


def test_the_same_model_gives_the_same_bytes_and_comes_back(tiny, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    artifact.save(tiny, first)
    loaded = artifact.load(first)
    artifact.save(loaded, second)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted([*artifact.FILES, artifact.GGUF])
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert loaded.config == TINY
    for name, weight in tiny.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], np.asarray(weight, np.float16))


def test_the_gguf_holds_the_whole_model(tiny, tmp_path):
    artifact.save(tiny, tmp_path)
    reader = gguf.GGUFReader(tmp_path / artifact.GGUF)
    assert reader.fields["general.architecture"].contents() == "llama"
    assert reader.fields["tokenizer.chat_template"].contents() == chat.TEMPLATE
    assert reader.fields["tokenizer.ggml.tokens"].contents() == list(TOKENIZER.vocabulary)
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    assert kinds == [gguf.TokenType.NORMAL] * (len(TOKENIZER) - 3) + [gguf.TokenType.CONTROL] * 3
    assert len(reader.tensors) == len(model.shapes(TINY))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (artifact.WEIGHTS, b"no weights", "model.safetensors cannot be read"),
        (artifact.CONFIG, b"{", "config.json cannot be read"),
        (artifact.CONFIG, b"{}", "config.json"),
        (artifact.TOKENIZER, b"{}", "tokenizer.json: not a byte-level BPE tokenizer"),
    ],
)
def test_a_broken_file_is_named(tiny, tmp_path, name, content, message):
    artifact.save(tiny, tmp_path, gguf=False)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(artifact.ArtifactError, match=message):
        artifact.load(tmp_path)


def test_weights_of_another_shape_are_refused(tiny, tmp_path):
    artifact.save(tiny, tmp_path, gguf=False)
    config = json.loads((tmp_path / artifact.CONFIG).read_text())
    (tmp_path / artifact.CONFIG).write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(artifact.ArtifactError, match=r"model.layers.2.* is missing"):
        artifact.load(tmp_path)
