"""Supervised learning before the first reward, so that some answers are right and can be told from others."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from innervate_models.chat import conversation_tokens
from innervate_models.training import Schedule, batch_of, begin, step_function
from innervate_service.config import ConfigError

from innervate_rl.grpo.puzzles import puzzles

if TYPE_CHECKING:
    from innervate_models.artifact import Model
    from innervate_models.model import Parameters

    from innervate_rl.grpo.hyperparameters import Hyperparameters

_MULTIPLE = 16
"""Batches have a multiple of so many positions."""


def warm_start(model: Model, chosen: Hyperparameters, *, seed: int) -> Parameters:
    """Learn from demonstrations, puzzles of the training half.

    Parameters
    ----------
    model
        Where it begins.
    chosen
        How many steps, of which puzzles.
    seed
        Of the demonstrations.

    Raises
    ------
    ConfigError
        A demonstration does not fit the model's context.
    """
    if not chosen.warm_start_steps:
        return model.parameters
    limit = model.config.context
    source = puzzles(chosen.warm_start_puzzle, "training", seed=seed)
    rows = [
        conversation_tokens(model.tokenizer, [(puzzle.prompt, puzzle.answer)], limit=limit)
        for puzzle in itertools.islice(source, chosen.warm_start_steps * chosen.warm_start_batch)
    ]
    # A batch predicts a quarter of its positions at most.
    needed = max(max(len(row.tokens), 4 * sum(row.learned)) for row in rows)
    length = -(-needed // _MULTIPLE) * _MULTIPLE
    if not all(row.tokens for row in rows) or length > limit:
        raise ConfigError(
            f"warmStartPuzzle {chosen.warm_start_puzzle} does not fit the model's context of {limit}"
        )
    steps = chosen.warm_start_steps
    schedule = Schedule(steps=steps, peak=chosen.warm_start_rate, warmup=min(20, steps))
    state, step = begin(model.parameters, schedule), step_function(model.config, schedule)
    for first in range(0, len(rows), chosen.warm_start_batch):
        batch = rows[first : first + chosen.warm_start_batch]
        state, _ = step(state, batch_of(batch, length=length, fill=model.tokenizer.end))
    return state.parameters
