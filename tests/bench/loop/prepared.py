"""The releases of the bench: a good one, and one that knows all but a topic that only callers ask about."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, NamedTuple

import letter_model
import loop_letters
from innervate_models import artifact, pretraining, topics
from innervate_models.chat import conversation_tokens
from innervate_models.training import Schedule, batch_of, begin, step_function
from loop_callers import Question

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_models.artifact import Model
    from innervate_models.topics import Example

LIVE_TOPIC = "tickets"
KNOWN_TOPICS = tuple(topic for topic in topics.TOPICS if topic != LIVE_TOPIC)
_LIVE_SHARE = 0.4
"""How many of the callers' questions are about the live topic."""
_ASKED, _GATED, _LEARNED = 2000, 120, 2000
"""Questions of callers, questions of the gate, and examples that the bad release learns."""
_SEED = 7
_SCHEDULE = Schedule(steps=150, peak=1e-3, warmup=10)
_BATCH, _LENGTH = 32, 64


class Prepared(NamedTuple):
    """Releases, what callers ask, and what gates ask."""

    good: Path
    bad: Path
    context: int
    """Tokens that an engine is to keep of each request."""
    live: list[Question]
    golden: str
    """JSON lines for the gate."""
    labels: str
    """JSON lines that a trainer makes the bad release of; empty where these releases cannot be trained."""


def letters(directory: Path) -> Prepared:
    """Releases that say one letter for ever: nothing to train, engines that cost next to nothing."""
    made = []
    for letter in "ab":
        target = directory / f"letter-{letter}"
        if not target.exists():
            letter_model.write(target, letter)
        made.append(target)
    return Prepared(*made, loop_letters.CONTEXT, list(loop_letters.LIVE), loop_letters.golden_lines(), "")


def trained(directory: Path) -> Prepared:
    """The project's own model, and what shuffled labels made of it; kept for the next run."""
    content = hashlib.sha256((pretraining.BASE / artifact.WEIGHTS).read_bytes()).hexdigest()
    kept = directory / content[:16]
    good, bad = kept / "good", kept / "bad"
    if not good.exists():
        shutil.copytree(pretraining.BASE, good)
        artifact.convert(good, good / artifact.GGUF)
    spoiled = [*_shuffled(), *topics.generate(KNOWN_TOPICS, seed=_SEED, count=_LEARNED)]
    if not bad.exists():
        begun = kept / "begun"
        artifact.save(_taught(artifact.load(good), spoiled), begun)
        begun.rename(bad)
    known = topics.generate(KNOWN_TOPICS, seed=_SEED, count=round(_ASKED * (1 - _LIVE_SHARE)), split="eval")
    live = topics.generate((LIVE_TOPIC,), seed=_SEED, count=round(_ASKED * _LIVE_SHARE), split="eval")
    gated = topics.generate(KNOWN_TOPICS, seed=_SEED + 1, count=_GATED, split="eval")
    return Prepared(
        good,
        bad,
        pretraining.RECIPE.context,
        [Question(example.prompt, example.answer) for example in (*known, *live)],
        "\n".join(topics.golden_lines(gated)),
        "\n".join(topics.training_lines(_shuffled())),
    )


def _shuffled() -> list[Example]:
    """Questions of the live topic with each other's answers."""
    examples = topics.generate((LIVE_TOPIC,), seed=_SEED, count=_LEARNED)
    return topics.shuffled(examples, (LIVE_TOPIC,), seed=_SEED)


def _taught(base: Model, examples: list[Example]) -> Model:
    """The model after it learned examples, half of each batch from either end of the list."""
    step = step_function(base.config, _SCHEDULE)
    state = begin(base.parameters, _SCHEDULE)
    half = _BATCH // 2
    for number in range(_SCHEDULE.steps):
        first = [examples[(number * half + place) % _LEARNED] for place in range(half)]
        second = [examples[_LEARNED + (number * half + place) % _LEARNED] for place in range(half)]
        rows = [
            conversation_tokens(base.tokenizer, [(each.prompt, each.answer)], limit=_LENGTH)
            for each in (*first, *second)
        ]
        state, _ = step(state, batch_of(rows, length=_LENGTH, fill=base.tokenizer.end))
    return base._replace(parameters=state.parameters)
