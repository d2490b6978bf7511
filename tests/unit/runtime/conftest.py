"""A clock that only moves when told, and the parts that need no API server."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Call:
    """A call that is due on the test's clock."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class HandClock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.start = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        self.calls: list[tuple[float, int, Call]] = []

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.time - 1000.0)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Call:
        call = Call(callback)
        heapq.heappush(self.calls, (self.time + seconds, id(call), call))
        return call

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self.call_later(seconds, lambda: None if woken.done() else woken.set_result(None))
        await woken

    async def advance(self, seconds: float) -> None:
        """Move on, running what is due in order, and let everybody who woke run."""
        until = self.time + seconds
        await settle()
        while self.calls and self.calls[0][0] <= until:
            due, _, call = heapq.heappop(self.calls)
            self.time = max(self.time, due)
            if not call.cancelled:
                call.callback()
            await settle()
        self.time = until


async def settle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()
