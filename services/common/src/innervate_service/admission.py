"""Back-pressure: so many calls run, so many wait, the rest are told to come again."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from innervate_service.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SMOOTHING = 0.1
"""Weight of the newest call in the mean duration."""
_MIN_RETRY_SECONDS = 0.05
_MAX_RETRY_SECONDS = 10.0


class Admission:
    """A bounded number of running calls and a bounded queue, first come first served.

    Parameters
    ----------
    max_concurrent
        Calls that run at once.
    max_queue
        Calls that may wait.
    """

    def __init__(self, *, max_concurrent: int, max_queue: int) -> None:
        self._places = asyncio.Semaphore(max_concurrent)
        self._max_concurrent = max_concurrent
        self._max_queue = max_queue
        self._mean_seconds = _MIN_RETRY_SECONDS
        self.running = 0
        """Calls that hold a place."""
        self.waiting = 0
        """Calls in the queue."""

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place; wait for one as long as the queue has room.

        Raises
        ------
        Exhausted
            The queue is full; `retry_after` is when it should have room again.
        """
        if self._places.locked() and self.waiting >= self._max_queue:
            raise Exhausted(
                f"{self.running} calls are running and {self.waiting} waiting, which is all this replica "
                "takes; try again later or add replicas",
                retry_after=self._retry_after(),
            )
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self.running -= 1
            self._places.release()
            self._mean_seconds += _SMOOTHING * (time.monotonic() - started - self._mean_seconds)

    def _retry_after(self) -> timedelta:
        # By Little's law the queue is worked off in its length times a call's share of the places.
        seconds = self._mean_seconds * (self.waiting + 1) / self._max_concurrent
        return timedelta(seconds=min(max(seconds, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS))
