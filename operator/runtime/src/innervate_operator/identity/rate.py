"""How often an account may ask for a certificate: token buckets, bounded in number."""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING

from innervate_service.errors import Exhausted

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_service.auth import Identity


class IssueRate:
    """A bucket for each account.

    Parameters
    ----------
    burst
        How many at once: all pods of one workload that start together share an account.
    per_second
        How many for ever.
    capacity
        How many accounts are kept; the one that asked longest ago is forgotten first.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        burst: int = 100,
        per_second: float = 1.0,
        capacity: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._capacity = capacity
        self._clock = clock
        self._buckets: OrderedDict[Identity, tuple[float, float]] = OrderedDict()

    def take(self, identity: Identity) -> None:
        """Count one.

        Raises
        ------
        Exhausted
            The account asked too often; `retry_after` is when it may again.
        """
        now = self._clock()
        tokens, seen = self._buckets.get(identity, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - seen) * self._per_second)
        granted = tokens >= 1
        self._buckets[identity] = (tokens - 1 if granted else tokens, now)
        self._buckets.move_to_end(identity)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        if not granted:
            raise Exhausted(
                f"service account {identity} asks for certificates more often than {self._per_second:g} "
                f"a second; keep a certificate until two thirds of its life are over",
                retry_after=timedelta(seconds=(1 - tokens) / self._per_second),
            )
