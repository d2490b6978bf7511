"""How good a policy is at tasks that it never learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from innervate_environments.episodes import Failure
from innervate_models.chat import prompt_tokens

from innervate_rl.grpo.collecting import texts_of
from innervate_rl.grpo.sampling import draw, prompts_of, row_keys
from innervate_rl.grpo.tasks import Answer, Judged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_models.artifact import Model

    from innervate_rl.grpo.hyperparameters import Hyperparameters
    from innervate_rl.grpo.tasks import Tasks

_EVALUATION: Final = 1
"""First part of the random keys of answers that are only looked at."""


class Episode(NamedTuple):
    """One answer."""

    task: int
    name: str
    """Of the task."""
    prompt: str
    text: str
    tokens: list[int]
    logprobs: list[float]
    judged: Judged


def evaluate(
    model: Model, chosen: Hyperparameters, tasks: Tasks, *, episodes: int, version: int, seed: int
) -> list[Episode]:
    """Answer evaluation tasks, each once before any comes again.

    Parameters
    ----------
    model
        The policy.
    chosen
        The settings.
    tasks
        The environment.
    episodes
        How many answers.
    version
        Updates that made the policy: each evaluation draws anew.
    seed
        Of the draws.

    Returns
    -------
    list
        Episodes with and without a reward.

    Raises
    ------
    RunError
        There is no environment.
    """
    found: list[Episode] = []
    for first in range(0, episodes, chosen.rows):
        numbers = range(first, min(first + chosen.rows, episodes))
        found += _round(model, chosen, tasks, numbers=numbers, version=version, seed=seed)
    return found


def _round(
    model: Model, chosen: Hyperparameters, tasks: Tasks, *, numbers: range, version: int, seed: int
) -> list[Episode]:
    asked = [number % tasks.describe.evaluation_tasks for number in numbers]
    prompts = tasks.prompts(asked, "evaluation")
    rows = [
        [] if isinstance(prompt, Failure) else prompt_tokens(model.tokenizer, prompt) for prompt in prompts
    ]
    usable = [place for place, row in enumerate(rows) if 0 < len(row) <= chosen.prompt_tokens]
    if not usable:
        return []
    kept = [rows[place] for place in usable]
    places = [(_EVALUATION, version, numbers[place]) for place in usable]
    missing = chosen.rows - len(kept)  # the same program as for training
    drawn = draw(
        model.parameters,
        model.config,
        prompts_of(kept + kept[:1] * missing, length=chosen.prompt_tokens, fill=model.tokenizer.end),
        keys=row_keys(seed, np.array(places + places[:1] * missing)),
        limit=chosen.answer_tokens,
        end=model.tokenizer.end,
        temperature=chosen.evaluation_temperature,
    )
    answers = drawn.part(slice(len(kept)))
    texts = texts_of(model, answers)
    handed = [Answer(asked[place], text) for place, text in zip(usable, texts, strict=True)]
    judged = _insist(tasks, handed, chosen.rollout_tries)
    lengths = answers.mask.sum(axis=1).astype(int)
    return [
        Episode(
            task=asked[place],
            name=tasks.name(asked[place], "evaluation"),
            prompt=str(prompts[place]),
            text=texts[number],
            tokens=answers.tokens[number, : lengths[number]].tolist(),
            logprobs=answers.logprobs[number, : lengths[number]].tolist(),
            judged=judged[number],
        )
        for number, place in enumerate(usable)
    ]


def _insist(tasks: Tasks, answers: Sequence[Answer], tries: int) -> list[Judged]:
    judged = tasks.judge(answers, "evaluation")
    for _ in range(tries - 1):
        failed = [place for place, one in enumerate(judged) if one.failure is not None]
        if not failed:
            break
        again = tasks.judge([answers[place] for place in failed], "evaluation", again=True)
        for place, one in zip(failed, again, strict=True):
            judged[place] = one
    return judged
