"""How often a model is exactly right, topic by topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from innervate_models import topics
from innervate_models.generation import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from innervate_models.artifact import Model
    from innervate_models.topics import Example

SEED = 2026
"""Of the questions that stated figures are about."""
COUNT = 300
"""Questions a topic, for stated figures."""


class Score(NamedTuple):
    """Exact answers of a topic."""

    correct: int
    asked: int

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.correct / self.asked


def evaluate(
    model: Model, examples: Sequence[Example], *, progress: Callable[[int], None] | None = None
) -> dict[str, Score]:
    """Ask a model and count exact answers, the likeliest token taken each time.

    Parameters
    ----------
    model
        Which model.
    examples
        What to ask.
    progress
        Told how many were answered since the last call.
    """
    answers = answer(
        model.parameters,
        model.config,
        model.tokenizer,
        [example.prompt for example in examples],
        progress=progress,
    )
    scores: dict[str, Score] = {}
    for example, given in zip(examples, answers, strict=True):
        so_far = scores.get(example.topic, Score(0, 0))
        scores[example.topic] = Score(so_far.correct + (given == example.answer), so_far.asked + 1)
    return scores


def questions(names: Sequence[str] = topics.TOPICS, *, seed: int = SEED, count: int = COUNT) -> list[Example]:
    """Questions of the eval split, `count` of each topic."""
    return topics.generate(names, seed=seed, count=count * len(names), split="eval")
