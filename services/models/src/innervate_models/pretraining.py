"""From nothing to the base model: the recipe, the run, and whether a second run agrees with the first."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_models import artifact, topics
from innervate_models.chat import conversation_tokens
from innervate_models.evaluation import COUNT, SEED, evaluate, questions
from innervate_models.initialization import initial
from innervate_models.model import ModelConfig
from innervate_models.tokenizer import learn
from innervate_models.training import Schedule, batch_of, begin, step_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from innervate_models.artifact import Model

BASE = Path(__file__).parent / "weights"
"""The model that comes with this package, in the canonical layout, with `REPORT` beside it."""
REPORT = "report.json"
TOLERANCE = 0.08
"""How far a topic's share of exact answers may differ between two runs of the recipe.

Processors sum in different orders, so a run elsewhere ends in other weights of the same quality.
"""


class Recipe(NamedTuple):
    """All that decides what is trained."""

    seed: int
    """Of the first weights."""
    data_seed: int
    """Of the conversations."""
    steps: int
    batch: int
    """Conversations a step."""
    length: int
    """Most tokens of a conversation; its last turns are left out where they do not fit."""
    more_sums: int
    """Times that sums are drawn beyond once in each round of topics: they are the hardest."""
    peak: float
    warmup: int
    weight_decay: float
    width: int
    layers: int
    heads: int
    key_value_heads: int
    hidden: int
    context: int


RECIPE = Recipe(
    seed=1,
    data_seed=1,
    steps=2000,
    batch=32,
    length=48,
    more_sums=4,
    peak=2e-3,
    warmup=100,
    weight_decay=0.1,
    width=128,
    layers=3,
    heads=4,
    key_value_heads=4,
    hidden=256,
    context=128,
)
"""How the committed weights were made."""


class Report(NamedTuple):
    """What a run gave."""

    recipe: dict[str, Any]
    parameters: int
    """How many numbers the model has."""
    digest: str
    """Of the weights' file."""
    seconds: float
    """Wall time of the training."""
    cpu_seconds: float
    evaluation: dict[str, int]
    """Seed and number of questions a topic."""
    quality: dict[str, float]
    """Share of exact answers by topic, of the weights as they are in the file."""
    tolerance: float


def pretrain(
    recipe: Recipe, directory: Path, *, progress: Callable[[int, float], None] | None = None
) -> Report:
    """Train by a recipe, write the model and its report.

    Parameters
    ----------
    recipe
        What to do.
    directory
        Gets the canonical files and `REPORT`.
    progress
        Told the step and its loss.
    """
    started, cpu_started = time.monotonic(), time.process_time()
    tokenizer = learn(topics.words())
    config = ModelConfig(
        vocabulary=len(tokenizer),
        width=recipe.width,
        layers=recipe.layers,
        heads=recipe.heads,
        key_value_heads=recipe.key_value_heads,
        hidden=recipe.hidden,
        context=recipe.context,
    )
    schedule = Schedule(
        steps=recipe.steps, peak=recipe.peak, warmup=recipe.warmup, weight_decay=recipe.weight_decay
    )
    state = begin(initial(config, seed=recipe.seed, tokenizer=tokenizer), schedule)
    step = step_function(config, schedule)
    stream = topics.conversations((*topics.TOPICS, *("sums",) * recipe.more_sums), seed=recipe.data_seed)
    for number in range(1, recipe.steps + 1):
        rows = [
            conversation_tokens(tokenizer, conversation.turns, limit=recipe.length)
            for conversation in itertools.islice(stream, recipe.batch)
        ]
        state, loss = step(state, batch_of(rows, length=recipe.length, fill=tokenizer.end))
        if progress:
            progress(number, float(loss))
    artifact.save(artifact.Model(config, state.parameters, tokenizer), directory, gguf=False)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    model = artifact.load(directory)
    report = Report(
        recipe=recipe._asdict(),
        parameters=sum(int(weight.size) for weight in model.parameters.values()),
        digest="sha256:" + hashlib.sha256((directory / artifact.WEIGHTS).read_bytes()).hexdigest(),
        seconds=round(seconds, 1),
        cpu_seconds=round(cpu_seconds, 1),
        evaluation={"seed": SEED, "questionsPerTopic": COUNT},
        quality=quality(model),
        tolerance=TOLERANCE,
    )
    (directory / REPORT).write_text(json.dumps(report._asdict(), indent=1) + "\n", encoding="utf-8")
    return report


def quality(model: Model) -> dict[str, float]:
    """Share of exact answers by topic, on the questions that stated figures are about."""
    return {topic: round(score.share, 4) for topic, score in evaluate(model, questions()).items()}


def stated() -> dict[str, Any]:
    """The report of the committed weights."""
    report: dict[str, Any] = json.loads((BASE / REPORT).read_text(encoding="utf-8"))
    return report


def disagreements(found: Mapping[str, float], expected: Mapping[str, float], tolerance: float) -> list[str]:
    """Name each topic whose quality differs by more than the tolerance."""
    return [
        f"{topic}: {found.get(topic, 0.0):.3f} instead of {share:.3f} ± {tolerance}"
        for topic, share in expected.items()
        if abs(found.get(topic, 0.0) - share) > tolerance
    ]
