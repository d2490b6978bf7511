"""Slots whose instances live in processes: spread over them, asked together, replaced when they end."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from innervate_service.config import ConfigError
from innervate_service.errors import Unavailable

from innervate_environments.actions import checked
from innervate_environments.episodes import Failure, Reason
from innervate_environments.frames import Answer, Kind, pack_head
from innervate_environments.processes import Lost
from innervate_environments.slots import GIVEN_UP, Begun, Episodes, Stepped, blank, blank_steps
from innervate_environments.spaces import Space, Text, element, from_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from innervate_environments.processes import Nursery, Process

_WORTH_A_PROCESS: Final = 16
"""Instances that make a process of their own worth its messages, where there are cores and processes."""


class Shape(NamedTuple):
    """What instances say of themselves."""

    observation_space: Space
    action_space: Space
    max_episode_steps: int


class Cell:
    """Room for the instances of one process.

    Parameters
    ----------
    nursery
        Starts the process.
    size
        How many instances.
    """

    def __init__(self, nursery: Nursery, size: int) -> None:
        self.size = size
        self.free = list(range(size - 1, -1, -1))
        """Places without a lease, the next one last."""
        self._nursery = nursery
        self._process: Process | None = None
        self._starting = asyncio.Lock()

    async def process(self) -> Process:
        """The process that there is, or a new one."""
        async with self._starting:
            if self._process is None or self._process.lost is not None:
                self._process = await self._nursery.spawn()
            return self._process

    def give_back(self, places: list[int]) -> None:
        """Free places; a process without leases ends, so that nothing is left of one in the next."""
        self.free += reversed(places)
        if self._process is not None:
            if len(self.free) == self.size:
                self._process.end()
                self._process = None
            else:
                self._process.close_places(places)


@dataclass
class _Group:
    """Slots of a lease that share a process; they follow each other."""

    cell: Cell
    places: list[int]
    first: int
    """The first slot."""
    head: bytes | None = None
    """Of a request that steps them all; None before the first."""
    process: Process | None = None
    """Where their episodes are; None before the first."""


class InstancePool:
    """All instances of a server.

    Parameters
    ----------
    nursery
        Starts processes.
    capacity
        Slots.
    per_process
        Most instances that share a process.
    """

    def __init__(self, nursery: Nursery, *, capacity: int, per_process: int) -> None:
        self._nursery = nursery
        whole, rest = divmod(capacity, per_process)
        sizes = [per_process] * whole + [rest] * bool(rest)
        self._cells = [Cell(nursery, size) for size in sizes]
        self._shape: Shape | None = None
        self.package: Mapping[str, Any] | None = None
        """What a package for ``verifiers`` says of its tasks and rewards; None before the start."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be used now; None when it can."""
        return self._nursery.problem

    @property
    def shape(self) -> Shape:
        """What instances are like.

        Raises
        ------
        Unavailable
            Not known yet.
        """
        if self._shape is None:
            raise Unavailable("the environment is starting; try again")
        return self._shape

    async def start(self) -> None:
        """Start, and ask an instance what it is like.

        Raises
        ------
        ConfigError
            The environment cannot be served.
        """
        self._nursery.start()
        process = await self._nursery.spawn()
        try:
            described = (await process.ask(pack_head(Kind.DESCRIBE, {}))).description or {}
        except Lost as lost:
            raise ConfigError(f"the environment cannot be made: {lost.failure.message}") from lost
        finally:
            process.end()
        if "problem" in described:
            raise ConfigError(str(described["problem"]))
        self._shape = Shape(
            from_json(described["observation"]), from_json(described["action"]), described["maxEpisodeSteps"]
        )
        self.package = described["package"]

    async def stop(self) -> None:
        """End every process."""
        await self._nursery.stop()

    def take(self, count: int, autoreset: bool) -> InstanceSeats:
        """Slots for a lease; the caller knows that so many are free."""
        groups: list[_Group] = []
        taken = 0
        for cell, share in self._shares(count):
            places = [cell.free.pop() for _ in range(share)]
            groups.append(_Group(cell, places, taken))
            taken += share
        return InstanceSeats(groups, self.shape, count, autoreset=autoreset)

    def _shares(self, count: int) -> list[tuple[Cell, int]]:
        # Leases share a process only where they must; and a large one is worth several cores.
        empty = [cell for cell in self._cells if len(cell.free) == cell.size]
        wanted = min(len(empty), os.cpu_count() or 1, count // _WORTH_A_PROCESS)
        most = -(-count // wanted) if wanted > 1 else count
        order = sorted(
            (cell for cell in self._cells if cell.free), key=lambda cell: len(cell.free) < cell.size
        )
        shares = dict.fromkeys(order, 0)
        left = count
        for limit in (most, count):
            for cell in order:
                more = min(left, min(len(cell.free), limit) - shares[cell])
                shares[cell] += more
                left -= more
        return [(cell, share) for cell, share in shares.items() if share]


class InstanceSeats:
    """The slots of one lease, in processes. See `Seats`."""

    def __init__(self, groups: list[_Group], shape: Shape, count: int, *, autoreset: bool) -> None:
        self.count = count
        self._groups = groups
        self._shape = shape
        self._autoreset = autoreset
        self._episodes = Episodes(count)
        self._group_of = [group for group in groups for _ in group.places]
        self._whole: list[tuple[_Group, Sequence[int]]] = [
            (group, range(group.first, group.first + len(group.places))) for group in groups
        ]
        """What `_parts` gives for all slots."""

    async def reset(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> Begun:
        """See `Seats`."""
        begun = Begun(blank(self._shape.observation_space, len(slots)))
        self._episodes.end(slots)
        parts = self._parts(slots, range(len(slots)))
        processes = await asyncio.gather(*(self._alive(group) for group, _ in parts))
        asked = [
            process.ask(
                pack_head(
                    Kind.RESET,
                    {
                        "places": self._places(group, [slots[at] for at in positions]),
                        "seeds": None if seeds is None else [seeds[at] for at in positions],
                        "options": None if options is None else [options[at] for at in positions],
                    },
                )
            )
            for (group, positions), process in zip(parts, processes, strict=True)
        ]
        answers = await _all(asked)
        for (group, positions), answer in zip(parts, answers, strict=True):
            lost = answer if isinstance(answer, Lost) else self._understood(group, begun, positions, answer)
            if lost is not None:
                begun.errors |= self._lost(group, slots, positions, lost)
        for at, slot in enumerate(slots):
            if at not in begun.errors:
                self._episodes.begin(slot)
        return begun

    async def step(self, slots: Sequence[int], actions: NDArray[Any] | Sequence[str]) -> Stepped:
        """See `Seats`."""
        count = len(slots)
        actions, wrong = checked(self._shape.action_space, actions, count)
        stepped = blank_steps(self._shape.observation_space, count)
        stepped.errors |= {at: Failure(Reason.INVALID_ACTION, told) for at, told in wrong.items()}
        stepped.errors |= self._episodes.missing(slots)
        able = [at for at in range(count) if at not in stepped.errors] if stepped.errors else range(count)
        parts = self._parts(slots, able)
        asked = [self._ask_step(group, slots, positions, actions) for group, positions in parts]
        try:
            answers = await _all(asked)
        except asyncio.CancelledError:
            for slot in slots:
                self._episodes.void(slot, GIVEN_UP)
            raise
        for (group, positions), answer in zip(parts, answers, strict=True):
            lost = answer if isinstance(answer, Lost) else self._understood(group, stepped, positions, answer)
            if lost is not None:
                stepped.errors |= self._lost(group, slots, positions, lost)
        over = set(stepped.errors)
        if not self._autoreset:
            over |= set(np.flatnonzero(stepped.terminated | stepped.truncated).tolist())
        self._episodes.end([slots[at] for at in over])
        return stepped

    def close(self) -> None:
        """See `Seats`."""
        for group in self._groups:
            group.cell.give_back(group.places)
        self._groups = []

    def _parts(self, slots: Sequence[int], positions: Sequence[int]) -> list[tuple[_Group, Sequence[int]]]:
        """Positions in a request by the processes that have their slots."""
        if isinstance(slots, range) and isinstance(positions, range):
            return self._whole
        parts: dict[int, list[int]] = {}
        for at in positions:
            parts.setdefault(self._group_of[slots[at]].first, []).append(at)
        return [(self._group_of[first], positions) for first, positions in parts.items()]

    def _places(self, group: _Group, slots: Sequence[int]) -> list[int]:
        return [group.places[slot - group.first] for slot in slots]

    async def _alive(self, group: _Group) -> Process:
        process = await group.cell.process()
        if group.process is not process:
            self._bereave(group)
            group.process = process
        return process

    def _ask_step(
        self,
        group: _Group,
        slots: Sequence[int],
        positions: Sequence[int],
        actions: NDArray[Any] | Sequence[str],
    ) -> asyncio.Future[Answer]:
        assert group.process is not None  # noqa: S101  its slots have episodes
        if isinstance(positions, range) and isinstance(actions, np.ndarray):
            if group.head is None:
                group.head = pack_head(Kind.STEP, {"places": group.places, "autoreset": self._autoreset})
            return group.process.ask(group.head, actions[positions.start : positions.stop].tobytes())
        places = self._places(group, [slots[at] for at in positions])
        document: dict[str, Any] = {"places": places, "autoreset": self._autoreset}
        if isinstance(actions, np.ndarray):
            return group.process.ask(pack_head(Kind.STEP, document), actions[list(positions)].tobytes())
        document["texts"] = [actions[at] for at in positions]
        return group.process.ask(pack_head(Kind.STEP, document))

    def _understood(
        self,
        group: _Group,
        result: Begun | Stepped,
        positions: Sequence[int],
        answer: Answer,
    ) -> Lost | None:
        """Take in an answer; a process that gives one without sense is ended."""
        try:
            if isinstance(result, Stepped):
                self._take_in(result, positions, answer)
            else:
                self._fill(result.observations, positions, answer, 0)
            result.errors |= _errors(answer, positions)
            result.infos |= {positions[at]: info for at, info in answer.infos.items()}
        except (ValueError, IndexError) as error:
            assert group.process is not None  # noqa: S101  it answered
            group.process.ended(f"its process was ended: it gave an answer without sense: {error}")
            return group.process.lost
        return None

    def _take_in(self, stepped: Stepped, positions: Sequence[int], answer: Answer) -> None:
        count, index = len(positions), _index(positions)
        space = self._shape.observation_space
        rewards = np.frombuffer(answer.numbers, "<f8", count)
        ends = np.frombuffer(answer.numbers, np.bool_, 2 * count, 8 * count).reshape(2, count)
        stepped.rewards[index] = rewards
        stepped.terminated[index], stepped.truncated[index] = ends
        begin = 10 * count
        begin += self._fill(stepped.observations, positions, answer, begin)
        if not answer.finals:
            return
        if isinstance(space, Text):
            finals: list[Any] = list(answer.final_texts)
        else:
            dtype, shape = element(space)
            finals = list(np.frombuffer(answer.numbers, dtype, offset=begin).reshape((-1, *shape)))
        stepped.finals |= {positions[at]: final for at, final in zip(answer.finals, finals, strict=True)}

    def _fill(
        self, observations: NDArray[Any] | list[str], positions: Sequence[int], answer: Answer, offset: int
    ) -> int:
        """Put observations in their places; gives how many bytes they had."""
        if isinstance(observations, list):
            for at, text in zip(positions, answer.texts, strict=True):
                observations[at] = text
            return 0
        shape = observations.shape[1:]
        size = len(positions) * math.prod(shape)
        found = np.frombuffer(answer.numbers, observations.dtype, size, offset)
        observations[_index(positions)] = found.reshape((len(positions), *shape))
        return found.nbytes

    def _lost(
        self, group: _Group, slots: Sequence[int], positions: Sequence[int], lost: Lost
    ) -> dict[int, Failure]:
        """What to tell of slots whose process ended; those not asked about are told with the next step."""
        failures = {at: self._blame(group, slots[at], lost) for at in positions}
        self._episodes.end([slots[at] for at in positions])
        self._bereave(group)
        return failures

    def _bereave(self, group: _Group) -> None:
        if group.process is not None and group.process.lost is not None:
            for slot in range(group.first, group.first + len(group.places)):
                self._episodes.void(slot, self._blame(group, slot, group.process.lost))

    def _blame(self, group: _Group, slot: int, lost: Lost) -> Failure:
        if lost.guilty is None or group.places[slot - group.first] == lost.guilty:
            return lost.failure
        told = "the process was ended that it shared with an instance that hung"
        return Failure(Reason.CRASHED, told)


async def _all(asked: Sequence[asyncio.Future[Answer]]) -> list[Answer | Lost]:
    """All answers; `asyncio.gather` with less ado, since none of these waits for another."""
    answers: list[Answer | Lost] = []
    for future in asked:
        try:
            answers.append(await future)
        except Lost as lost:
            answers.append(lost)
    return answers


def _index(positions: Sequence[int]) -> Any:
    return slice(positions.start, positions.stop) if isinstance(positions, range) else list(positions)


def _errors(answer: Answer, positions: Sequence[int]) -> dict[int, Failure]:
    return {positions[at]: Failure(Reason(reason), told) for at, (reason, told) in answer.errors.items()}
