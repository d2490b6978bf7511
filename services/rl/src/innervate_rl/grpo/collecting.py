"""Rollouts: groups of answers to the same prompt, with what each was worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from innervate_environments.episodes import Failure
from innervate_models.chat import prompt_tokens

from innervate_rl.errors import RunError
from innervate_rl.grpo.advantages import advantages
from innervate_rl.grpo.objective import Experience
from innervate_rl.grpo.prompts import Cursor
from innervate_rl.grpo.sampling import Answers, draw, prompts_of, row_keys
from innervate_rl.grpo.tasks import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_models.artifact import Model
    from innervate_models.model import Parameters

    from innervate_rl.grpo.hyperparameters import Hyperparameters
    from innervate_rl.grpo.prompts import Order
    from innervate_rl.grpo.tasks import Judged, Tasks

_TRAINING: Final = 0
"""First part of the random keys of answers to learn from."""


@dataclass(slots=True)
class Group:
    """Answers to one prompt."""

    position: int
    """Of the prompt in the order."""
    task: int
    name: str
    """Of the task."""
    prompt: str
    asked: list[int]
    """The prompt's tokens."""
    answers: Answers
    texts: list[str]
    version: int
    """Updates of the policy that drew the answers."""
    judged: list[Judged | None]
    """None for those that wait to be judged."""
    tries: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether each answer has its reward."""
        return None not in self.judged

    @property
    def rewards(self) -> list[float]:
        """Of each answer; NaN for a void one."""
        return [math.nan if one is None else one.reward for one in self.judged]


class Batch(NamedTuple):
    """What one update learns from."""

    groups: list[Group]
    after: Cursor
    """What is done once this has been learned from."""


class Collector:
    """Draws answers and has them judged.

    Parameters
    ----------
    model
        For its shape and tokenizer.
    chosen
        The settings.
    tasks
        The environment.
    order
        Of the training tasks.
    cursor
        Where to go on.
    seed
        Of the draws: an answer depends on seed, position, place in its group and parameters alone.
    patient
        Whether a group without all of its rewards is asked about again at once, so that every batch is whole.
        Otherwise the batch goes on without it, and it is asked about again with the next one.
    """

    def __init__(
        self,
        *,
        model: Model,
        chosen: Hyperparameters,
        tasks: Tasks,
        order: Order,
        cursor: Cursor,
        seed: int,
        patient: bool,
    ) -> None:
        self._model, self._chosen, self._tasks, self._order = model, chosen, tasks, order
        self._seed, self._patient = seed, patient
        self._next, self._owed, self._aside = cursor.next, list(cursor.owed), set(cursor.aside)
        self._waiting: list[Group] = []

    def collect(self, parameters: Parameters, *, version: int) -> Batch:
        """Make the next batch by the policy that `version` updates made.

        Raises
        ------
        RunError
            There is no environment, or no task left.
        """
        groups = self._waiting + self._fresh(parameters, version, self._chosen.prompts - len(self._waiting))
        for _ in range(self._chosen.rollout_tries if self._patient else 1):
            if not self._judge(groups):
                break
        tries = self._chosen.rollout_tries
        self._waiting = [group for group in groups if not group.complete and group.tries < tries]
        done = [group for group in groups if group.complete or group.tries >= tries]
        # Where no answer at all could be judged, the task is at fault.
        self._aside |= {group.task for group in done if not any(group.judged)}
        owed = (*(group.position for group in self._waiting), *self._owed)
        return Batch(done, Cursor(self._next, owed, tuple(sorted(self._aside))))

    def _judge(self, groups: Sequence[Group]) -> bool:
        """Hand in what has no reward yet; tells whether something still has none."""
        open_ = [
            (group, member) for group in groups for member, one in enumerate(group.judged) if one is None
        ]
        answers = [Answer(group.task, group.texts[member]) for group, member in open_]
        again = all(group.tries for group, _ in open_)
        results = self._tasks.judge(answers, "training", again=again)
        for (group, member), judged in zip(open_, results, strict=True):
            if judged.failure is None:
                group.judged[member] = judged
            else:
                group.failures.append(judged.failure)
        for group in groups:
            group.tries += 1
        return not all(group.complete for group in groups)

    def _fresh(self, parameters: Parameters, version: int, count: int) -> list[Group]:
        chosen, tokenizer = self._chosen, self._model.tokenizer
        asked = self._prompts(count)
        if not asked:
            return []
        rows = [tokens for _, _, tokens in asked for _ in range(chosen.group)]
        places = [(_TRAINING, position, member) for position, _, _ in asked for member in range(chosen.group)]
        # Always as many rows as in a full batch: another number would be another program.
        missing = chosen.rows - len(rows)
        answers = draw(
            parameters,
            self._model.config,
            prompts_of(rows + rows[:1] * missing, length=chosen.prompt_tokens, fill=tokenizer.end),
            keys=row_keys(self._seed, np.array(places + places[:1] * missing)),
            limit=chosen.answer_tokens,
            end=tokenizer.end,
            temperature=chosen.temperature,
        )
        groups = []
        for number, (position, prompt, tokens) in enumerate(asked):
            own = slice(number * chosen.group, (number + 1) * chosen.group)
            drawn = answers.part(own)
            groups.append(
                Group(
                    position=position,
                    task=self._order.task(position),
                    name=self._tasks.name(self._order.task(position), "training"),
                    prompt=prompt,
                    asked=tokens,
                    answers=drawn,
                    texts=texts_of(self._model, drawn),
                    version=version,
                    judged=[None] * chosen.group,
                )
            )
        return groups

    def _prompts(self, count: int) -> list[tuple[int, str, list[int]]]:
        """The next positions with their prompts; tasks that cannot be asked are set aside."""
        found: list[tuple[int, str, list[int]]] = []
        while len(found) < count:
            positions = self._positions(count - len(found))
            tasks = [self._order.task(position) for position in positions]
            texts = self._tasks.prompts(tasks, "training")
            for _ in range(self._chosen.rollout_tries - 1):
                if not any(isinstance(text, Failure) for text in texts):
                    break
                texts = self._tasks.prompts(tasks, "training", again=True)
            for position, task, text in zip(positions, tasks, texts, strict=True):
                tokens = [] if isinstance(text, Failure) else prompt_tokens(self._model.tokenizer, text)
                if isinstance(text, Failure) or len(tokens) > self._chosen.prompt_tokens:
                    self._aside.add(task)
                else:
                    found.append((position, text, tokens))
        return found

    def _positions(self, count: int) -> list[int]:
        while len(self._aside) < self._order.count:
            found, self._owed = self._owed[:count], self._owed[count:]
            while len(found) < count:
                found.append(self._next)
                self._next += 1
            kept = [position for position in found if self._order.task(position) not in self._aside]
            if kept:
                return kept
        raise RunError(
            f"all {self._order.count} training tasks are set aside: none could be asked, "
            "or none of their answers judged"
        )


def texts_of(model: Model, answers: Answers) -> list[str]:
    """The answers as text; special tokens are left out."""
    return [
        model.tokenizer.decode(int(token) for token in row[: int(mask.sum())])
        for row, mask in zip(answers.tokens, answers.mask, strict=True)
    ]


def experience_of(groups: Sequence[Group], chosen: Hyperparameters, *, fill: int) -> Experience:
    """Put groups side by side, filled up to a full batch with what does not count."""
    length = chosen.prompt_tokens + chosen.answer_tokens
    tokens = np.full((chosen.rows, length), fill, np.int32)
    lengths = np.ones(chosen.rows, np.int32)
    mask, worth, behaviour = (np.zeros((chosen.rows, chosen.answer_tokens), np.float32) for _ in range(3))
    if groups:
        rewards = np.array([group.rewards for group in groups])
        better = advantages(rewards, normalize=chosen.normalize_advantages)
        # Alone, an answer can be compared with nothing.
        counts = ~np.isnan(rewards) & ((~np.isnan(rewards)).sum(axis=1, keepdims=True) > 1)
    for number, group in enumerate(groups):
        for member in range(chosen.group):
            row, end = number * chosen.group + member, len(group.asked)
            tokens[row, :end] = group.asked
            tokens[row, end : end + chosen.answer_tokens] = group.answers.tokens[member]
            lengths[row] = end
            mask[row] = group.answers.mask[member] * counts[number, member]
            worth[row] = better[number, member]
            behaviour[row] = group.answers.logprobs[member]
    nothing = np.zeros_like(behaviour)
    return Experience(tokens, lengths, mask, worth, behaviour, nothing, nothing)
