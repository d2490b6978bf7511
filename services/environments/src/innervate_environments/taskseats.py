"""Slots in which tasks are solved: a task is shown, answers come back, what they come to is judged."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from innervate_environments.actions import checked
from innervate_environments.choosing import Choice
from innervate_environments.episodes import Failure, Reason
from innervate_environments.instances import Shape
from innervate_environments.slots import GIVEN_UP, Begun, Episodes, Stepped, blank_steps
from innervate_environments.spaces import MAX_TEXT, Text
from innervate_environments.verifying import Answer, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from innervate_environments.choosing import Place
    from innervate_environments.instances import InstancePool
    from innervate_environments.slots import Seats
    from innervate_environments.tasks import Task, TaskSet
    from innervate_environments.verifying import Verifier, Weighted


class TaskHall:
    """Where slots for tasks come from.

    Parameters
    ----------
    tasks
        The tasks.
    verifier
        Scores answers.
    rewards
        What the scores are worth.
    dialogues
        Processes of dialogues; None where a task is one answer.
    """

    def __init__(
        self,
        tasks: TaskSet,
        verifier: Verifier,
        rewards: Sequence[Weighted],
        dialogues: InstancePool | None = None,
    ) -> None:
        self._tasks = tasks
        self._verifier = verifier
        self._rewards = rewards
        self._dialogues = dialogues

    @property
    def problem(self) -> str | None:
        """Why it cannot be used now; None when it can."""
        return None if self._dialogues is None else self._dialogues.problem

    @property
    def shape(self) -> Shape:
        """What slots are like."""
        return Shape(Text(MAX_TEXT), Text(MAX_TEXT), 1) if self._dialogues is None else self._dialogues.shape

    async def start(self) -> None:
        """Start the processes of dialogues, where there are any."""
        if self._dialogues is not None:
            await self._dialogues.start()

    async def stop(self) -> None:
        """End them."""
        if self._dialogues is not None:
            await self._dialogues.stop()

    def take(self, count: int, autoreset: bool) -> Seats:
        """Slots for a lease."""
        desk = _Desk(count, self._tasks, self._verifier, self._rewards)
        if self._dialogues is None:
            return TaskSeats(count, desk, autoreset=autoreset)
        return DialogueSeats(self._dialogues.take(count, autoreset=False), desk, autoreset=autoreset)


class _Chosen(NamedTuple):
    task: Task
    seed: int
    """For chance within the task."""
    info: str


class _Desk:
    """Chooses tasks for the slots of a lease, and has answers judged."""

    def __init__(self, count: int, tasks: TaskSet, verifier: Verifier, rewards: Sequence[Weighted]) -> None:
        self._tasks = tasks
        self._verifier = verifier
        self._rewards = rewards
        self._choice = Choice(count, {split: len(known) for split, known in tasks.splits.items()})
        self._chosen: list[Task | None] = [None] * count

    def choose(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> list[_Chosen]:
        """Choose a task for each slot: the one that its options name, or any.

        Raises
        ------
        InvalidArgument
            Options are wrong; then nothing is chosen.
        """
        places = self._choice.choose(slots, seeds, options)
        return [self._take(slot, place) for slot, place in zip(slots, places, strict=True)]

    async def judge(self, stepped: Stepped, at: int, slot: int, output: str) -> None:
        """Have a slot's output judged, and put down what came of it."""
        task = self._chosen[slot]
        assert task is not None  # noqa: S101  the slot has an episode
        answer = Answer(id=task.id, input=task.input, output=output, expected=task.expected)
        verdict = judge(self._rewards, await self._verifier(answer))
        stepped.named[at] = verdict.named
        stepped.rewards[at] = verdict.reward
        stepped.terminated[at] = verdict.failure is None
        if verdict.failure is not None:
            stepped.errors[at] = verdict.failure

    def _take(self, slot: int, place: Place) -> _Chosen:
        task = self._chosen[slot] = self._tasks.splits[place.split][place.task]
        info = {"task": place.task, "split": place.split, "id": task.id, "metadata": task.metadata}
        return _Chosen(task, place.seed, json.dumps(info, separators=(",", ":")))


class TaskSeats:
    """The slots of one lease, where a task is one answer. See `Seats`."""

    def __init__(self, count: int, desk: _Desk, *, autoreset: bool) -> None:
        self.count = count
        self._desk = desk
        self._autoreset = autoreset
        self._episodes = Episodes(count)

    async def reset(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> Begun:
        """See `Seats`."""
        chosen = self._desk.choose(slots, seeds, options)
        for slot in slots:
            self._episodes.begin(slot)
        return Begun([one.task.input for one in chosen], {at: one.info for at, one in enumerate(chosen)})

    async def step(self, slots: Sequence[int], actions: NDArray[Any] | Sequence[str]) -> Stepped:
        """See `Seats`."""
        texts, wrong = checked(Text(MAX_TEXT), actions, len(slots))
        stepped = blank_steps(Text(MAX_TEXT), len(slots))
        stepped.errors |= {at: Failure(Reason.INVALID_ACTION, told) for at, told in wrong.items()}
        stepped.errors |= self._episodes.missing(slots)
        able = [at for at in range(len(slots)) if at not in stepped.errors]
        try:
            await asyncio.gather(*(self._desk.judge(stepped, at, slots[at], texts[at]) for at in able))
        except asyncio.CancelledError:
            for slot in slots:
                self._episodes.void(slot, GIVEN_UP)
            raise
        self._episodes.end(slots)
        if self._autoreset:
            await go_on(self, stepped, slots)
        return stepped

    def close(self) -> None:
        """See `Seats`."""


class DialogueSeats:
    """The slots of one lease, where a task takes several turns. See `Seats`."""

    def __init__(self, dialogues: Seats, desk: _Desk, *, autoreset: bool) -> None:
        self.count = dialogues.count
        self._dialogues = dialogues
        self._desk = desk
        self._autoreset = autoreset

    async def reset(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> Begun:
        """See `Seats`."""
        chosen = self._desk.choose(slots, seeds, options)
        # What is expected stays here: a dialogue must not be able to give it away.
        shown = [one.task.model_dump(include={"id", "input", "metadata"}) for one in chosen]
        begun = await self._dialogues.reset(slots, [one.seed for one in chosen], shown)
        begun.infos = {at: one.info for at, one in enumerate(chosen) if at not in begun.errors}
        return begun

    async def step(self, slots: Sequence[int], actions: NDArray[Any] | Sequence[str]) -> Stepped:
        """See `Seats`."""
        stepped = await self._dialogues.step(slots, actions)
        ended = {
            int(at): _output(stepped.infos.pop(int(at), "")) for at in np.flatnonzero(stepped.terminated)
        }
        await asyncio.gather(
            *(self._desk.judge(stepped, at, slots[at], output) for at, output in ended.items())
        )
        if self._autoreset:
            await go_on(self, stepped, slots)
        return stepped

    def close(self) -> None:
        """See `Seats`."""
        self._dialogues.close()


async def go_on(seats: Seats, stepped: Stepped, slots: Sequence[int]) -> None:
    """Begin the next episode where one ended."""
    ended = np.flatnonzero(stepped.terminated).tolist()
    if not ended:
        return
    begun = await seats.reset([slots[at] for at in ended], None, None)
    texts = cast("list[str]", stepped.observations)
    for position, at in enumerate(ended):
        if position in begun.errors:
            stepped.errors[at] = begun.errors[position]
            stepped.rewards[at], stepped.terminated[at] = math.nan, False
            continue
        stepped.finals[at] = texts[at]
        texts[at] = begun.observations[position]
        stepped.infos[at] = begun.infos[position]


def _output(info: str) -> str:
    return str(json.loads(info)["output"])
