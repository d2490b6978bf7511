"""How good a policy is at tasks that it never learned from."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from innervate_environments.episodes import Failure
from innervate_models.chat import prompt_tokens
from innervate_service.config import ConfigError

from innervate_rl.errors import RunError
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
_NAMED: Final = 5
"""Most tasks that a message names."""


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


class Void(NamedTuple):
    """An episode without a reward."""

    name: str
    """Of the task."""
    why: str


class Evaluation(NamedTuple):
    """What came out."""

    episodes: list[Episode]
    """Those that have a reward."""
    void: list[Void]
    """The others."""

    def complete(self) -> list[Episode]:
        """All episodes: a mean over what is left would be one over the easier tasks, perhaps.

        Raises
        ------
        RunError
            One is void.
        """
        if self.void:
            names: dict[str, list[str]] = defaultdict(list)
            for one in self.void:
                names[one.why].append(one.name)
            reasons = "; ".join(f"{len(own)} of {_list(own)}: {why}" for why, own in names.items())
            count = len(self.void) + len(self.episodes)
            raise RunError(
                f"{len(self.void)} of {count} episodes of the evaluation could not be judged: {reasons}"
            )
        return self.episodes


def check_prompts(model: Model, chosen: Hyperparameters, tasks: Tasks, *, episodes: int) -> None:
    """Make sure, before anything is learned, that the tasks of the evaluation can be asked.

    Parameters
    ----------
    model, chosen, tasks, episodes
        As of `evaluate`. A task that cannot be begun now may be at the end: that is no reason to refuse.

    Raises
    ------
    ConfigError
        A prompt is too long.
    """
    asked = range(min(episodes, tasks.describe.evaluation_tasks))
    names = [
        tasks.name(task, "evaluation")
        for task, prompt in zip(asked, tasks.prompts(asked, "evaluation", again=True), strict=True)
        if not isinstance(prompt, Failure) and not _fits(prompt_tokens(model.tokenizer, prompt), chosen)
    ]
    if names:
        raise ConfigError(
            f"promptTokens {chosen.prompt_tokens} is too few for {len(names)} of the evaluation's tasks: "
            f"{_list(names)}"
        )


def evaluate(
    model: Model, chosen: Hyperparameters, tasks: Tasks, *, episodes: int, version: int, seed: int
) -> Evaluation:
    """Answer evaluation tasks, each once before any comes again.

    What fails is asked again, and an answer without a reward handed in again, `rollout_tries` times in all.

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
    Evaluation
        Episodes with and without a reward.

    Raises
    ------
    RunError
        There is no environment.
    """
    found = Evaluation([], [])
    for first in range(0, episodes, chosen.rows):
        numbers = range(first, min(first + chosen.rows, episodes))
        part = _round(model, chosen, tasks, numbers=numbers, version=version, seed=seed)
        found.episodes.extend(part.episodes)
        found.void.extend(part.void)
    return found


def _round(
    model: Model, chosen: Hyperparameters, tasks: Tasks, *, numbers: range, version: int, seed: int
) -> Evaluation:
    asked = [number % tasks.describe.evaluation_tasks for number in numbers]
    prompts = tasks.prompts(asked, "evaluation")
    for _ in range(chosen.rollout_tries - 1):
        if not any(isinstance(prompt, Failure) for prompt in prompts):
            break
        prompts = tasks.prompts(asked, "evaluation", again=True)
    rows = [
        [] if isinstance(prompt, Failure) else prompt_tokens(model.tokenizer, prompt) for prompt in prompts
    ]
    usable = [place for place, row in enumerate(rows) if _fits(row, chosen)]
    void = [
        Void(tasks.name(task, "evaluation"), _why_not(prompt, chosen))
        for task, prompt, row in zip(asked, prompts, rows, strict=True)
        if not _fits(row, chosen)
    ]
    if not usable:
        return Evaluation([], void)
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
    episodes = [
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
    void += [Void(one.name, one.judged.failure.message) for one in episodes if one.judged.failure]
    return Evaluation([one for one in episodes if one.judged.failure is None], void)


def _fits(row: Sequence[int], chosen: Hyperparameters) -> bool:
    return 0 < len(row) <= chosen.prompt_tokens


def _why_not(prompt: str | Failure, chosen: Hyperparameters) -> str:
    if isinstance(prompt, Failure):
        return prompt.message
    return f"the prompt is empty, or longer than promptTokens {chosen.prompt_tokens}"


def _list(names: Sequence[str]) -> str:
    known = list(dict.fromkeys(names))
    return f"task {', '.join(known[:_NAMED])}{', …' if len(known) > _NAMED else ''}"


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
