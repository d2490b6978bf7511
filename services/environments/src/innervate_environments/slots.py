"""The slots of a lease: which of them have an episode, and what is told of those that lost theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from innervate_environments.episodes import Failure, Named, Reason
from innervate_environments.spaces import Space, Text, element

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

_NO_EPISODE: Final = Failure(Reason.NO_EPISODE, "the slot has no episode; reset it")
GIVEN_UP: Final = Failure(Reason.FAILED, "the call that was at it was given up; reset the slot")


@dataclass
class Begun:
    """Beginnings of episodes, by position in the request."""

    observations: NDArray[Any] | list[str]
    infos: dict[int, str] = field(default_factory=dict)
    """JSON objects."""
    errors: dict[int, Failure] = field(default_factory=dict)


@dataclass
class Stepped:
    """A step of several slots, by position in the request."""

    observations: NDArray[Any] | list[str]
    rewards: NDArray[np.float64]
    """NaN where there is an error."""
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    named: dict[int, Named] = field(default_factory=dict)
    finals: dict[int, NDArray[Any] | str] = field(default_factory=dict)
    infos: dict[int, str] = field(default_factory=dict)
    """JSON objects."""
    errors: dict[int, Failure] = field(default_factory=dict)


class Seats(Protocol):
    """The slots of one lease, numbered from 0."""

    count: int
    """How many."""

    async def reset(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> Begun:
        """Begin episodes in these slots; seeds and options are one for each, or None."""
        ...

    async def step(self, slots: Sequence[int], actions: NDArray[Any] | Sequence[str]) -> Stepped:
        """Take one step in each of these slots."""
        ...

    def close(self) -> None:
        """Give up the slots."""
        ...


class Episodes:
    """Which slots have an episode.

    Parameters
    ----------
    count
        How many slots.
    """

    def __init__(self, count: int) -> None:
        self._live = bytearray(count)
        self._voids: dict[int, Failure] = {}

    def begin(self, slot: int) -> None:
        """Note that an episode began."""
        self._live[slot] = True
        self._voids.pop(slot, None)

    def end(self, slots: Iterable[int]) -> None:
        """Note that episodes ended, as they should or told as an error."""
        for slot in slots:
            self._live[slot] = False
            self._voids.pop(slot, None)

    def void(self, slot: int, failure: Failure) -> None:
        """Note that an episode was lost while nobody asked; the next step tells."""
        if self._live[slot]:
            self._live[slot] = False
            self._voids[slot] = failure

    def missing(self, slots: Sequence[int]) -> dict[int, Failure]:
        """By position, what to tell of slots without an episode."""
        if 0 not in self._live:
            return {}
        return {
            at: self._voids.pop(slot, _NO_EPISODE) for at, slot in enumerate(slots) if not self._live[slot]
        }


def blank(space: Space, count: int) -> NDArray[Any] | list[str]:
    """Observations that are yet to be filled in."""
    if isinstance(space, Text):
        return [""] * count
    dtype, shape = element(space)
    return np.zeros((count, *shape), dtype)


def blank_steps(space: Space, count: int) -> Stepped:
    """A step that is yet to be filled in."""
    return Stepped(
        blank(space, count),
        np.full(count, np.nan),
        np.zeros(count, np.bool_),
        np.zeros(count, np.bool_),
    )
