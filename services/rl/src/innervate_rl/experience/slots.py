"""Which episode each environment of a vector is in: numbers that a resumed run gives again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping


class Numbers(NamedTuple):
    """Episode and step of each step, (N, T)."""

    episode: np.ndarray[Any, Any]
    step: np.ndarray[Any, Any]


class Slots:
    """Numbers episodes, those of environments side by side and whole ones alike."""

    def __init__(self) -> None:
        self._next = 0
        self._episode = np.zeros(0, np.int64)
        self._step = np.zeros(0, np.int64)

    def advance(self, ended: np.ndarray[Any, Any]) -> Numbers:
        """Number the next steps of the environments side by side.

        Parameters
        ----------
        ended
            (N, T), true at an episode's last step.

        Raises
        ------
        ValueError
            It were other environments before.
        """
        count, length = ended.shape
        if not len(self._episode):
            self._episode, self._step = np.arange(self._next, self._next + count), np.zeros(count, np.int64)
            self._next += count
        if len(self._episode) != count:
            raise ValueError(f"there were {len(self._episode)} environments, now there are {count}")
        if not length:
            return Numbers(np.zeros(ended.shape, np.int64), np.zeros(ended.shape, np.int64))
        # Every end gives its environment a new number, counted along environments, then along time.
        given = self._next - 1 + np.cumsum(ended.reshape(-1)).reshape(count, length)
        at = np.arange(length)
        last = np.maximum.accumulate(np.where(ended, at, -1), axis=1)
        before = np.concatenate([np.full((count, 1), -1), last], axis=1)
        begun = np.take_along_axis(given, np.maximum(before, 0), axis=1)
        episodes = np.where(before < 0, self._episode[:, None], begun)
        now = np.arange(length + 1)
        steps = np.where(before < 0, self._step[:, None] + now, now - before - 1)
        self._episode, self._step = episodes[:, -1], steps[:, -1]
        self._next += int(np.count_nonzero(ended))
        return Numbers(episodes[:, :-1], steps[:, :-1])

    def take(self, count: int) -> int:
        """First of `count` numbers for whole episodes."""
        first, self._next = self._next, self._next + count
        return first

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"next": self._next, "episode": self._episode.tolist(), "step": self._step.tolist()}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Slots:
        """Back from JSON."""
        slots = cls()
        slots._next = document["next"]
        slots._episode = np.asarray(document["episode"], np.int64)
        slots._step = np.asarray(document["step"], np.int64)
        return slots
