"""Puzzles as an environment in this process, with faults where a test wants them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from innervate_environments.client import Begun, Chain, Description, EnvironmentLost, Reward, Steps
from innervate_environments.episodes import Failure, Named, Reason, Role
from innervate_environments.spaces import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from innervate_rl.grpo.puzzles import Puzzle


class Handed(NamedTuple):
    """An answer that came in."""

    task: int
    split: str
    text: str


class ScriptedTasks:
    """What a trainer sees of an environment of tasks; `connect` opens it.

    Parameters
    ----------
    training, evaluation
        The puzzles.
    reward
        Of an answer to a puzzle; by default 1 for the right one.
    """

    def __init__(
        self,
        training: Sequence[Puzzle],
        evaluation: Sequence[Puzzle],
        reward: Callable[[Puzzle, str], float] = lambda puzzle, text: float(text == puzzle.answer),
    ) -> None:
        self._puzzles = {"training": training, "evaluation": evaluation}
        self._reward = reward
        self.handed: list[Handed] = []
        """Everything that came in, in order."""
        self.failing: dict[int, Failure] = {}
        """Training tasks whose answers are never judged."""
        self.failing_once: dict[int, Failure] = {}
        """Training tasks whose answers are not judged the first time, or so many `times`."""
        self.times = 1
        self.unreachable: dict[int, Failure] = {}
        """Training tasks that cannot even be begun."""
        self.evaluation_failing: dict[int, Iterator[Failure]] = {}
        """Evaluation tasks whose answers are not judged, as often as there is a failure."""
        self.evaluation_unreachable: dict[int, Iterator[Failure]] = {}
        """Evaluation tasks that cannot be begun, as often as there is a failure."""
        self.lost_steps: set[int] = set()
        """Steps, counted from 0, at which the server is lost; None of their answers is judged."""
        self.opened = 0
        self.chain = Chain("sha256:e", "", "sha256:r", "sha256:t")
        self.capacity = 64
        self._leased = 0
        self._steps = 0
        self._at: dict[int, tuple[str, int]] = {}
        self._failed: Counter[int] = Counter()

    @property
    def describe(self) -> Description:
        return Description(
            id="puzzles",
            observation_space=Text(1000),
            action_space=Text(1000),
            rewards=(Reward("right", "1.0", Role.TRAINED), Reward("strict", "1.0", Role.HELD_OUT)),
            max_episode_steps=1,
            chain=self.chain,
            capacity=self.capacity,
            free=self.capacity,
            training_tasks=len(self._puzzles["training"]),
            evaluation_tasks=len(self._puzzles["evaluation"]),
        )

    def connect(self, slots: int) -> ScriptedTasks:
        self.opened += 1
        self._leased = slots
        return self

    def close(self) -> None:
        self._at.clear()

    def reset(
        self,
        seeds: Sequence[int] | None = None,
        options: Sequence[Mapping[str, object]] | None = None,
        *,
        slots: Sequence[int] | None = None,
    ) -> Begun:
        assert seeds is None
        assert max(slots) < self._leased
        errors, prompts = {}, []
        for place, (slot, option) in enumerate(zip(slots, options, strict=True)):
            split, task = option["split"], option["task"]
            unreachable = (
                self.unreachable.get(task)
                if split == "training"
                else next(self.evaluation_unreachable.get(task, iter(())), None)
            )
            if unreachable:
                errors[place] = unreachable
                prompts.append("")
            else:
                self._at[slot] = split, task
                prompts.append(self._puzzles[split][task].prompt)
        return Begun(prompts, {}, errors)

    def step(self, actions: Sequence[str], *, slots: Sequence[int] | None = None) -> Steps:
        number, self._steps = self._steps, self._steps + 1
        if number in self.lost_steps:
            raise EnvironmentLost("gone")
        rewards, named, errors, first = [], {}, {}, set()
        for place, (slot, text) in enumerate(zip(slots, actions, strict=True)):
            split, task = self._at.pop(slot)
            self.handed.append(Handed(task, split, text))
            failure = self._fails(split, task, first)
            if failure:
                errors[place] = failure
                rewards.append(np.nan)
                continue
            puzzle = self._puzzles[split][task]
            rewards.append(self._reward(puzzle, text))
            named[place] = Named({"right": rewards[-1], "strict": float(text == puzzle.answer)}, {})
        ended = np.ones(len(rewards), bool)
        return Steps([""] * len(rewards), np.array(rewards), ended, ~ended, named, errors, {}, {})

    def _fails(self, split: str, task: int, first: set[int]) -> Failure | None:
        if split != "training":
            return next(self.evaluation_failing.get(task, iter(())), None)
        if task in self.failing:
            return self.failing[task]
        if task in self.failing_once and (task in first or self._failed[task] < self.times):
            self._failed[task] += task not in first
            first.add(task)
            return self.failing_once[task]
        return None


HUNG = Failure(Reason.HUNG, "took too long")
UNVERIFIED = Failure(Reason.UNVERIFIED, "the verifier is gone")
