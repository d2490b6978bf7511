"""What a server of environments does, without gRPC."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from innervate_service.errors import InvalidArgument, Unavailable

from innervate_environments import metrics
from innervate_environments.leases import Leases
from innervate_environments.spaces import Text, element

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from innervate_service.auth import Identity
    from numpy.typing import NDArray

    from innervate_environments.instances import Shape
    from innervate_environments.leases import Lease
    from innervate_environments.slots import Begun, Seats, Stepped

_MAX_SEED: Final = 2**63 - 1
_SPARE_BYTES: Final = 65_536
"""Of a message, for what is not an observation."""


class Hall(Protocol):
    """Where slots come from."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be used now; None when it can."""
        ...

    @property
    def shape(self) -> Shape:
        """What slots are like."""
        ...

    async def start(self) -> None:
        """Begin."""
        ...

    async def stop(self) -> None:
        """End."""
        ...

    def take(self, count: int, autoreset: bool) -> Seats:
        """Slots for a lease; the caller knows that so many are free."""
        ...


class Environment:
    """Leases of slots, and what is done in them.

    Parameters
    ----------
    hall
        Where slots come from.
    capacity
        Slots.
    lease_seconds
        A lease without a stream that is not used for so long ends.
    max_message_bytes
        Largest request and answer.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        hall: Hall,
        *,
        capacity: int,
        lease_seconds: float,
        max_message_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hall = hall
        self._max_message_bytes = max_message_bytes
        self.leases = Leases(capacity=capacity, seconds=lease_seconds, take=hall.take, clock=clock)
        """Who holds what."""
        self._draining = False
        self._following: asyncio.Task[None] | None = None

    @property
    def shape(self) -> Shape:
        """What slots are like."""
        return self._hall.shape

    def problem(self) -> str | None:
        """Why it cannot be used now; None when it can."""
        return self._hall.problem

    async def start(self) -> None:
        """Begin."""
        await self._hall.start()
        self._following = asyncio.create_task(self.leases.follow(), name="leases")

    def drain(self) -> None:
        """Take no new leases."""
        self._draining = True

    async def stop(self) -> None:
        """End."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._hall.stop()

    def open(
        self,
        owner: Identity,
        slots: int,
        *,
        request_id: str = "",
        autoreset: bool = False,
        streamed: bool = False,
    ) -> Lease:
        """Take a lease.

        Raises
        ------
        ServiceError
            See `Leases.open`; and `Unavailable` while the server ends.
        """
        if self._draining:
            raise Unavailable("this server ends; try again, and another one answers")
        self._fitting(slots)
        return self.leases.open(owner, slots, request_id=request_id, autoreset=autoreset, streamed=streamed)

    async def reset(
        self,
        lease: Lease,
        slots: Sequence[int],
        seeds: Sequence[int],
        options: Sequence[Mapping[str, Any]],
    ) -> Begun:
        """Begin episodes.

        Parameters
        ----------
        lease
            A lease in use.
        slots
            Which; none means all.
        seeds
            One for each slot, or none.
        options
            One for each slot, one for all, or none.

        Raises
        ------
        InvalidArgument
            A field is wrong.
        """
        chosen = _chosen(lease, slots)
        if seeds and len(seeds) != len(chosen):
            raise InvalidArgument("seeds", f"{len(seeds)} seeds", f"must be none or {len(chosen)}")
        for at, seed in enumerate(seeds):
            if not 0 <= seed <= _MAX_SEED:
                raise InvalidArgument(f"seeds[{at}]", seed, "must not be negative")
        if len(options) not in {0, 1, len(chosen)}:
            raise InvalidArgument("options", f"{len(options)} options", f"must be none, 1 or {len(chosen)}")
        each = list(options) * len(chosen) if len(options) == 1 else list(options)
        return await lease.seats.reset(chosen, list(seeds) or None, each or None)

    async def step(
        self, lease: Lease, slots: Sequence[int], actions: NDArray[Any] | Sequence[str]
    ) -> Stepped:
        """Take one step in each slot.

        Parameters
        ----------
        lease
            A lease in use.
        slots
            Which; none means all.
        actions
            First axis is the slots.

        Raises
        ------
        InvalidArgument
            A field is wrong.
        """
        chosen = _chosen(lease, slots)
        stepped = await lease.seats.step(chosen, actions)
        _tally(stepped)
        return stepped

    def fit(self, slots: int, size: int) -> None:
        """Check that an answer can be sent.

        Raises
        ------
        InvalidArgument
            It is too large.
        """
        if size > self._max_message_bytes:
            raise InvalidArgument(
                "slots",
                f"{slots} slots",
                f"must be fewer at once: the answer would have {size} bytes, a message may have "
                f"{self._max_message_bytes}",
            )

    def _fitting(self, slots: int) -> None:
        space = self.shape.observation_space
        if isinstance(space, Text):
            return
        dtype, shape = element(space)
        # A step answers with a slot's first and last observation where an episode follows another.
        size = 2 * math.prod(shape) * dtype.itemsize
        most = (self._max_message_bytes - _SPARE_BYTES) // max(size, 1)
        if slots > most:
            raise InvalidArgument(
                "slots",
                slots,
                f"must be at most {most}: their observations would not fit in a message of "
                f"{self._max_message_bytes} bytes",
            )


def _chosen(lease: Lease, slots: Sequence[int]) -> Sequence[int]:
    count = lease.seats.count
    if not slots:
        return range(count)
    for at, slot in enumerate(slots):
        if not 0 <= slot < count:
            raise InvalidArgument(f"slots[{at}]", slot, f"must be 0 to {count - 1}")
    if len(set(slots)) != len(slots):
        raise InvalidArgument("slots", list(slots), "must name no slot twice")
    return slots


_TERMINATED: Final = metrics.EPISODES.labels("terminated")
_TRUNCATED: Final = metrics.EPISODES.labels("truncated")


def _tally(stepped: Stepped) -> None:
    metrics.STEPS.inc(len(stepped.rewards))
    terminated = int(np.count_nonzero(stepped.terminated))
    if terminated:
        _TERMINATED.inc(terminated)
    if np.count_nonzero(stepped.truncated):
        _TRUNCATED.inc(int(np.count_nonzero(stepped.truncated & ~stepped.terminated)))
    for failure in stepped.errors.values():
        metrics.EPISODES.labels(failure.reason.name.lower()).inc()
