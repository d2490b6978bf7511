"""Slots in which tasks are solved: a task is shown, answers come back, the last one is judged."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from innervate_service.errors import InvalidArgument

from innervate_environments.actions import checked
from innervate_environments.episodes import Failure, Named, Reason
from innervate_environments.instances import Shape
from innervate_environments.slots import GIVEN_UP, Begun, Episodes, Stepped, blank_steps
from innervate_environments.spaces import Text
from innervate_environments.tasks import MAX_TEXT, SPLITS
from innervate_environments.verifying import Answer, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from innervate_environments.tasks import Split, Task, TaskSet
    from innervate_environments.verifying import Verifier, Weighted

_OPTIONS: Final = 'must be {"task": index, "split": "training" or "evaluation"}, both of them optional'


@dataclass
class _Slot:
    chance: np.random.Generator
    task: Task | None = None


class TaskHall:
    """Tasks of one answer each.

    Parameters
    ----------
    tasks
        The tasks.
    verifier
        Scores answers.
    rewards
        What the scores are worth.
    """

    problem: None = None
    """Why it cannot be used now: nothing is needed that could be missing."""

    def __init__(self, tasks: TaskSet, verifier: Verifier, rewards: Sequence[Weighted]) -> None:
        self._tasks = tasks
        self._verifier = verifier
        self._rewards = rewards
        self.shape = Shape(Text(MAX_TEXT), Text(MAX_TEXT), 1)
        """What slots are like."""

    async def start(self) -> None:
        """Nothing is to be started."""

    async def stop(self) -> None:
        """Nothing is to be ended."""

    def take(self, count: int, autoreset: bool) -> TaskSeats:
        """Slots for a lease."""
        return TaskSeats(count, self._tasks, self._verifier, self._rewards, autoreset=autoreset)


class TaskSeats:
    """The slots of one lease. See `Seats`."""

    def __init__(
        self,
        count: int,
        tasks: TaskSet,
        verifier: Verifier,
        rewards: Sequence[Weighted],
        *,
        autoreset: bool,
    ) -> None:
        self.count = count
        self._tasks = tasks
        self._verifier = verifier
        self._rewards = rewards
        self._autoreset = autoreset
        self._slots = [_Slot(np.random.default_rng()) for _ in range(count)]
        self._episodes = Episodes(count)
        self._usual: Split = "training" if tasks.splits["training"] else "evaluation"

    async def reset(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> Begun:
        """See `Seats`."""
        if options is not None:
            for at, option in enumerate(options):
                self._check(option, f"options[{at}]")
        begun = Begun([""] * len(slots))
        for at, slot in enumerate(slots):
            if seeds is not None:
                self._slots[slot].chance = np.random.default_rng(seeds[at])
            self._begin(begun, at, slot, options[at] if options else {})
        return begun

    async def step(self, slots: Sequence[int], actions: NDArray[Any] | Sequence[str]) -> Stepped:
        """See `Seats`."""
        texts, wrong = checked(Text(MAX_TEXT), actions, len(slots))
        stepped = blank_steps(Text(MAX_TEXT), len(slots))
        stepped.errors |= {at: Failure(Reason.INVALID_ACTION, told) for at, told in wrong.items()}
        stepped.errors |= self._episodes.missing(slots)
        able = [at for at in range(len(slots)) if at not in stepped.errors]
        try:
            await asyncio.gather(*(self._judge(stepped, at, slots[at], texts[at]) for at in able))
        except asyncio.CancelledError:
            for slot in slots:
                self._episodes.void(slot, GIVEN_UP)
            raise
        self._episodes.end(slots)
        if self._autoreset:
            begun = Begun(cast("list[str]", stepped.observations))
            for at in able:
                if at not in stepped.errors:
                    stepped.finals[at] = ""
                    self._begin(begun, at, slots[at], {})
            stepped.infos |= begun.infos
        return stepped

    def close(self) -> None:
        """See `Seats`."""

    async def _judge(self, stepped: Stepped, at: int, slot: int, output: str) -> None:
        task = self._slots[slot].task
        assert task is not None  # noqa: S101  the slot has an episode
        answer = Answer(id=task.id, input=task.input, output=output, expected=task.expected)
        verdict = judge(self._rewards, await self._verifier(answer))
        stepped.named[at] = Named(verdict.named.values, verdict.named.failures)
        if verdict.failure is not None:
            stepped.errors[at] = verdict.failure
            return
        stepped.rewards[at] = verdict.reward
        stepped.terminated[at] = True

    def _begin(self, begun: Begun, at: int, slot: int, option: Mapping[str, Any]) -> None:
        split: Split = option.get("split", self._usual)
        tasks = self._tasks.splits[split]
        chosen = option.get("task")
        own = self._slots[slot]
        index = int(own.chance.integers(len(tasks))) if chosen is None else chosen
        own.task = tasks[index]
        begun.observations[at] = own.task.input
        known = {"task": index, "split": split, "id": own.task.id, "metadata": own.task.metadata}
        begun.infos[at] = json.dumps(known, separators=(",", ":"))
        self._episodes.begin(slot)

    def _check(self, option: Mapping[str, Any], field: str) -> None:
        split, task = option.get("split", self._usual), option.get("task")
        if not option.keys() <= {"task", "split"} or split not in SPLITS:
            raise InvalidArgument(field, option, _OPTIONS)
        count = len(self._tasks.splits[split])
        whole = isinstance(task, int) and not isinstance(task, bool)
        if not count:
            raise InvalidArgument(f"{field}.split", split, "has no tasks; name the other")
        if task is not None and not (whole and 0 <= task < count):
            raise InvalidArgument(f"{field}.task", task, f"must be 0 to {count - 1}")
