"""Back-pressure: so many requests are with engines, so many wait, the rest are told to come again."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_SMOOTHING: Final = 0.05
"""Weight of the newest request in the mean duration."""


class Admission:
    """Places at engines and a queue for them, first come first served.

    Nothing waits here: who gets a place is called.

    Parameters
    ----------
    max_concurrent
        Places.
    max_queue
        Requests that may wait for one.
    """

    def __init__(self, *, max_concurrent: int, max_queue: int) -> None:
        self._max_concurrent = max_concurrent
        self._max_queue = max_queue
        self._queue: OrderedDict[object, Callable[[], None]] = OrderedDict()
        self._mean_seconds = 0.1
        self.running = 0
        """Places taken."""

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    def enter(self, ticket: object, proceed: Callable[[], None]) -> bool:
        """Ask for a place; `proceed` is called as soon as there is one, maybe at once.

        Returns
        -------
        bool
            False where the queue is full: nothing will be called.
        """
        if self.running < self._max_concurrent and not self._queue:
            self.running += 1
            proceed()
            return True
        if len(self._queue) >= self._max_queue:
            return False
        self._queue[ticket] = proceed
        return True

    def abandon(self, ticket: object) -> bool:
        """Leave the queue; whether the ticket stood in it."""
        return self._queue.pop(ticket, None) is not None

    def leave(self, seconds: float) -> None:
        """Give a place back that was held for so long."""
        self.running -= 1
        self._mean_seconds += _SMOOTHING * (seconds - self._mean_seconds)
        while self._queue and self.running < self._max_concurrent:
            _, proceed = self._queue.popitem(last=False)
            self.running += 1
            proceed()

    def retry_after(self) -> int:
        """Seconds until the queue should have room: by Little's law, its length at the rate of the places."""
        seconds = self._mean_seconds * (len(self._queue) + 1) / self._max_concurrent
        return max(1, min(60, math.ceil(seconds)))
