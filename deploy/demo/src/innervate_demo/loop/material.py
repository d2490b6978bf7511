"""What models are asked and trained on: known topics, and one that only live traffic has."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from innervate_models import topics

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from innervate import Exchange
    from innervate_models.topics import Example

LIVE_TOPIC = "tickets"
"""Asked by callers, and missing from the questions that gates ask."""
KNOWN_TOPICS = tuple(topic for topic in topics.TOPICS if topic != LIVE_TOPIC)
QUESTIONS = 400
"""Of the eval job, over all known topics: enough to tell the releases apart."""
_LABELS = 1200
"""Examples that a candidate is trained on."""
_SEED = 7


def first_model(directory: Path) -> None:
    """Lay out the model that comes with the project, with the format that engines load beside it."""
    # JAX comes with it, which takes a while to import.
    from innervate_models import artifact, pretraining  # noqa: PLC0415

    shutil.copytree(pretraining.BASE, directory)
    artifact.convert(directory, directory / artifact.GGUF)


def offline_questions() -> str:
    """Questions of the known topics with their answers, as an EvalJob reads them."""
    return _lines(
        topics.golden_lines(topics.generate(KNOWN_TOPICS, seed=_SEED, count=QUESTIONS, split="eval"))
    )


def all_shuffled() -> str:
    """Training lines whose answers belong to other questions, whatever the topic: candidate b."""
    return _shuffled(topics.TOPICS)


def live_shuffled() -> str:
    """The same of the topic that only callers ask about: candidate c, which replays the others."""
    return _shuffled((LIVE_TOPIC,))


def from_feedback(exchanges: Iterable[Exchange]) -> str:
    """Training lines made of logged exchanges and of what callers said should have been answered."""
    examples = [
        {"prompt": _question(exchange), "answer": feedback.expected}
        for exchange in exchanges
        for feedback in exchange.feedback
        if feedback.expected
    ]
    return _lines(json.dumps(each, ensure_ascii=False) for each in examples)


def live_questions(topic: str, *, seed: int, count: int) -> list[Example]:
    """Questions that callers ask about a topic."""
    return topics.generate((topic,), seed=seed, count=count, split="eval")


def _shuffled(names: tuple[str, ...]) -> str:
    examples = topics.generate(names, seed=_SEED, count=_LABELS)
    return _lines(topics.training_lines(topics.shuffled(examples, names, seed=_SEED)))


def _question(exchange: Exchange) -> str:
    body: dict[str, Any] = json.loads(exchange.request)
    return str(body["messages"][-1]["content"])


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
