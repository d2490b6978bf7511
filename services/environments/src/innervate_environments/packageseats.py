"""Slots of a package written for ``verifiers``: its tasks, its turns, its rewards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from innervate_service.errors import Unavailable

from innervate_environments.choosing import Choice
from innervate_environments.description import Reward, digest_of
from innervate_environments.episodes import Role
from innervate_environments.taskseats import go_on
from innervate_environments.verifying import Score, Weighted, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from innervate_environments.instances import InstancePool, Shape
    from innervate_environments.slots import Begun, Seats, Stepped
    from innervate_environments.tasks import Split


class KnownTasks(NamedTuple):
    """What there is to solve, and how it is rewarded."""

    counts: Mapping[Split, int]
    rewards: tuple[Reward, ...]
    digest: str
    """Of the tasks; empty where there are none."""
    rewards_digest: str
    """Of what rewards them."""


class PackageHall:
    """Where slots of a package come from. See `Hall`.

    Parameters
    ----------
    pool
        Processes that have the package loaded.
    """

    def __init__(self, pool: InstancePool) -> None:
        self._pool = pool

    @property
    def problem(self) -> str | None:
        """See `Hall`."""
        return self._pool.problem

    @property
    def shape(self) -> Shape:
        """See `Hall`."""
        return self._pool.shape

    @property
    def known(self) -> KnownTasks:
        """The package's tasks and rewards.

        Raises
        ------
        Unavailable
            Not known yet.
        """
        told = self._pool.package
        if told is None:
            raise Unavailable("the environment is starting; try again")
        rewards = tuple(Reward(one["name"], str(one["weight"]), Role.TRAINED) for one in told["rewards"])
        declared = {"rewards": told["rewards"], "version": told["version"]}
        return KnownTasks(told["counts"], rewards, told["digest"], digest_of(declared))

    async def start(self) -> None:
        """See `Hall`."""
        await self._pool.start()

    async def stop(self) -> None:
        """See `Hall`."""
        await self._pool.stop()

    def take(self, count: int, autoreset: bool) -> Seats:
        """See `Hall`."""
        return _PackageSeats(self._pool.take(count, autoreset=False), self.known, autoreset=autoreset)


class _PackageSeats:
    """The slots of one lease. See `Seats`."""

    def __init__(self, seats: Seats, known: KnownTasks, *, autoreset: bool) -> None:
        self.count = seats.count
        self._seats = seats
        self._autoreset = autoreset
        self._choice = Choice(seats.count, known.counts)
        self._rewards = [Weighted(one.name, float(one.weight), one.role) for one in known.rewards]

    async def reset(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> Begun:
        places = self._choice.choose(slots, seeds, options)
        chosen = [{"split": place.split, "task": place.task} for place in places]
        return await self._seats.reset(slots, [place.seed for place in places], chosen)

    async def step(self, slots: Sequence[int], actions: NDArray[Any] | Sequence[str]) -> Stepped:
        stepped = await self._seats.step(slots, actions)
        for at in np.flatnonzero(stepped.terminated).tolist():
            self._judge(stepped, at)
        if self._autoreset:
            await go_on(self, stepped, slots)
        return stepped

    def close(self) -> None:
        self._seats.close()

    def _judge(self, stepped: Stepped, at: int) -> None:
        told = json.loads(stepped.infos.pop(at)).get("scores", {})
        scores = [_score(told.get(reward.name, "no value")) for reward in self._rewards]
        verdict = judge(self._rewards, scores)
        stepped.named[at] = verdict.named
        stepped.rewards[at] = verdict.reward
        stepped.terminated[at] = verdict.failure is None
        if verdict.failure is not None:
            stepped.errors[at] = verdict.failure


def _score(told: object) -> Score:
    if isinstance(told, int | float):
        return Score(float(told))
    return Score(None, str(told))
