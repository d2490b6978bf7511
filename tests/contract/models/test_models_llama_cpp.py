"""JAX and llama.cpp read the same files and say the same: tokens, scores, answers."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from innervate_local import binaries
from innervate_models import artifact, chat, generation, initialization, model, pretraining, topics
from innervate_models.tokenizer import learn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOLERANCE = 0.05
"""In logarithms of probabilities: llama.cpp multiplies in float16 what JAX multiplies in float32."""
TEXTS = (
    "Ada visits Rome. Which city does Ada visit?",
    "<|user|>Ada<|end|><|assistant|>",
    "  two  spaces,\n\ttabs and\r\n lines it's",
    "naïve Zoë, 日本語, ½ 4711 🙂",
)
PROMPTS = [example.prompt for example in topics.generate(topics.TOPICS, seed=11, count=21, split="eval")]


@pytest.fixture(scope="module")
def base() -> artifact.Model:
    return artifact.load(pretraining.BASE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """llama.cpp's server with the committed model."""
    place = tmp_path_factory.mktemp("base")
    artifact.convert(pretraining.BASE, place / artifact.GGUF)
    yield from serving(place / artifact.GGUF)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model whose heads share keys and values, which the committed one's do not."""
    tokenizer = learn(topics.words())
    config = model.ModelConfig(
        vocabulary=len(tokenizer), width=64, layers=2, heads=4, key_value_heads=2, hidden=96, context=64
    )
    place = tmp_path_factory.mktemp("grouped")
    made = artifact.Model(config, initialization.initial(config, seed=5), tokenizer)
    artifact.save(made, place)
    return place


def serving(gguf: Path) -> Iterator[httpx.Client]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = gguf.with_suffix(".log")
    process = subprocess.Popen(
        [
            *(str(binaries.path("llama-server")), "--model", str(gguf), "--host", "127.0.0.1"),
            *("--port", str(port), "--ctx-size", "128", "--parallel", "1", "--threads", "1"),
            *("--cache-type-k", "f32", "--cache-type-v", "f32", "--no-warmup", "--jinja"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            deadline = time.monotonic() + 120
            while not is_ready(client):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
            yield client
    finally:
        process.terminate()
        process.wait(60)


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def posted(client: httpx.Client, path: str, **content: Any) -> Any:
    response = client.post(path, json=content)
    assert response.status_code == 200, response.text
    return response.json()


def next_scores(client: httpx.Client, tokens: list[int]) -> dict[int, float]:
    """Logarithms of the likeliest next tokens' probabilities."""
    answer = posted(client, "/completion", prompt=tokens, n_predict=1, n_probs=20, temperature=0.0)
    return {each["id"]: each["logprob"] for each in answer["completion_probabilities"][0]["top_logprobs"]}


def assert_same_scores(client: httpx.Client, made: artifact.Model, prompts: list[str]) -> None:
    read = jax.jit(model.logits, static_argnums=1)
    for prompt in prompts:
        tokens = chat.prompt_tokens(made.tokenizer, prompt)
        padded = np.full((1, 64), made.tokenizer.end)
        padded[0, : len(tokens)] = tokens
        scores = jax.nn.log_softmax(
            read(made.parameters, made.config, jnp.asarray(padded))[0, len(tokens) - 1]
        )
        theirs = next_scores(client, tokens)
        # Of what is all but impossible only the order of magnitude is meant.
        likely = [token for token, score in theirs.items() if score > -8]
        assert likely
        for token in likely:
            assert abs(theirs[token] - float(scores[token])) < TOLERANCE, (prompt, token)


@pytest.mark.parametrize("text", TEXTS)
def test_texts_have_the_same_tokens(server, base, text):
    tokens = posted(server, "/tokenize", content=text, add_special=True, parse_special=True)["tokens"]
    assert tokens == base.tokenizer.encode(text)


def test_a_chat_is_laid_out_as_in_training(server, base):
    turns = (("Ada likes tea. Which drink does Ada like?", "tea"), ("Which drink does Ada like?", "tea"))
    messages = [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    prompt = posted(server, "/apply-template", messages=messages[:-1])["prompt"]
    tokens = posted(server, "/tokenize", content=prompt, add_special=True, parse_special=True)["tokens"]
    trained = chat.conversation_tokens(base.tokenizer, turns, limit=128).tokens
    assert tokens == trained[: len(tokens)]
    assert base.tokenizer.decode(trained[len(tokens) :]) == "tea"


def test_scores_are_the_same(server, base):
    assert_same_scores(server, base, PROMPTS)


def test_scores_are_the_same_where_heads_share_keys(grouped):
    for client in serving(grouped / artifact.GGUF):
        assert_same_scores(client, artifact.load(grouped), PROMPTS[:7])


def test_greedy_tokens_are_the_same(server, base):
    for prompt in PROMPTS:
        tokens = chat.prompt_tokens(base.tokenizer, prompt)
        theirs = posted(
            server, "/completion", prompt=tokens, n_predict=8, temperature=0.0, return_tokens=True
        )["tokens"]
        ours = generation.tokens_after(
            base.parameters, base.config, [tokens], end=base.tokenizer.end, limit=8
        )[0]
        # Theirs names the end as well.
        assert [token for token in theirs if token != base.tokenizer.end] == ours, prompt


def test_chat_completions_give_our_answers(server, base):
    ours = generation.answer(base.parameters, base.config, base.tokenizer, PROMPTS)
    for prompt, expected in zip(PROMPTS, ours, strict=True):
        answer = posted(
            server,
            "/v1/chat/completions",
            messages=[{"role": "user", "content": prompt}],
            temperature=0,
            max_tokens=8,
        )
        assert answer["choices"][0]["message"]["content"] == expected
        assert answer["choices"][0]["finish_reason"] == "stop"
        assert answer["usage"]["prompt_tokens"] == len(chat.prompt_tokens(base.tokenizer, prompt))
