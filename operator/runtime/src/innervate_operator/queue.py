"""The work queue: a key waits at most once, runs at most once at a time, and comes back as told."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from innervate_operator.clock import Clock, Timer

KeyT = TypeVar("KeyT", bound="Hashable")


class Closed(Exception):
    """The queue is closed and hands out nothing more."""


class Backoff(Generic[KeyT]):
    """Exponential delays per key, and one budget for all keys together.

    Parameters
    ----------
    clock
        Fills the budget.
    base, limit
        First and longest delay of a key, in seconds.
    rate, burst
        Retries per second of all keys together, and how many may come at once. An outage that fails
        every key must not become a storm.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        base: float = 0.25,
        limit: float = 300.0,
        rate: float = 20.0,
        burst: float = 100.0,
    ) -> None:
        self._clock = clock
        self._base = base
        self._limit = limit
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled_at = clock.monotonic()
        self._failures: dict[KeyT, int] = {}

    def next(self, key: KeyT) -> float:
        """Seconds to wait after one more failure of a key."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2^30 quarter seconds are beyond every limit; larger powers only overflow.
        own = min(self._base * 2.0 ** min(failures, 30), self._limit)
        return max(own, self._shared())

    def reset(self, key: KeyT) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def _shared(self) -> float:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate) - 1.0
        self._filled_at = now
        return 0.0 if self._tokens >= 0.0 else -self._tokens / self._rate


class Queue(Generic[KeyT]):
    """Keys that wait for a worker, now or later.

    Parameters
    ----------
    clock
        Time; injected by tests.
    backoff
        Delays of keys that failed.
    jitter
        A number in [0, 1); spreads resyncs.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        backoff: Backoff[KeyT] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._backoff: Backoff[KeyT] = backoff or Backoff(clock)
        self._jitter = jitter
        # Ordered: a plain dictionary takes ever longer to hand out its first key.
        self._ready: OrderedDict[KeyT, float] = OrderedDict()
        self._running: dict[KeyT, float] = {}
        self._again: dict[KeyT, float] = {}
        self._later: dict[KeyT, float] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._sequence = 0
        self._timer: Timer | None = None
        self._timer_at = float("inf")
        self._wakeups: list[asyncio.Future[None]] = []
        self._closed = False

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._ready) + len(self._again)

    @property
    def running(self) -> int:
        """Keys that a worker has."""
        return len(self._running)

    def oldest_age(self) -> float:
        """Seconds since the oldest key that waits or runs was added; 0 when there is none."""
        moments = [*self._ready.values(), *self._running.values(), *self._again.values()]
        return self._clock.monotonic() - min(moments) if moments else 0.0

    def add(self, key: KeyT) -> None:
        """Have a key run soon; once more if it runs right now."""
        if self._closed:
            return
        if key in self._running:
            self._again.setdefault(key, self._clock.monotonic())
        elif key not in self._ready:
            self._ready[key] = self._clock.monotonic()
            self._wake_one()

    def add_after(self, key: KeyT, seconds: float) -> None:
        """Have a key run after that many seconds, or earlier if it is due earlier."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if self._closed or self._later.get(key, float("inf")) <= due:
            return
        self._later[key] = due
        self._sequence += 1
        heapq.heappush(self._heap, (due, self._sequence, key))
        self._arm()

    def add_resync(self, key: KeyT, seconds: float) -> None:
        """Have a key run after that many seconds, give or take a tenth."""
        self.add_after(key, seconds * (0.9 + 0.2 * self._jitter()))

    def add_failed(self, key: KeyT, *, after: float | None = None) -> float:
        """Have a key that failed run again after its backoff, or after `after`; returns the seconds."""
        delay = self._backoff.next(key) if after is None else after
        self.add_after(key, delay)
        return delay

    def succeeded(self, key: KeyT) -> None:
        """Forget the failures of a key."""
        self._backoff.reset(key)

    def forget(self, key: KeyT) -> None:
        """Drop a key for which nothing is left to do."""
        self._backoff.reset(key)
        self._later.pop(key, None)

    async def get(self) -> KeyT:
        """Take the key that waited longest; `done` must follow.

        Raises
        ------
        Closed
            When the queue is closed.
        """
        while not self._ready:
            if self._closed:
                raise Closed
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakeups.append(future)
            try:
                await future
            except asyncio.CancelledError:
                if future in self._wakeups:
                    self._wakeups.remove(future)
                elif self._ready:
                    self._wake_one()
                raise
        if self._closed:
            raise Closed
        key, since = self._ready.popitem(last=False)
        self._running[key] = since
        # What was due later is due now: this run decides anew.
        self._later.pop(key, None)
        return key

    def done(self, key: KeyT) -> None:
        """Give a key back; it waits again if it was added meanwhile."""
        self._running.pop(key, None)
        since = self._again.pop(key, None)
        if since is not None and not self._closed:
            self._ready[key] = since
            self._wake_one()

    def close(self) -> None:
        """Hand out nothing more; workers get `Closed`."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for future in self._wakeups:
            if not future.done():
                future.set_result(None)
        self._wakeups.clear()

    def _wake_one(self) -> None:
        while self._wakeups:
            future = self._wakeups.pop(0)
            if not future.done():
                future.set_result(None)
                return

    def _arm(self) -> None:
        due = self._heap[0][0] if self._heap else float("inf")
        if due >= self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._clock.call_later(max(0.0, due - self._clock.monotonic()), self._due)

    def _due(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            # An entry that was replaced by an earlier one, or dropped, is void.
            if self._later.get(key) == due:
                del self._later[key]
                self.add(key)
        if self._heap:
            self._arm()
