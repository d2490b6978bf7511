"""Leases: who holds which slots, until when."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from innervate_service.errors import Aborted, AlreadyExists, Exhausted, InvalidArgument, NotFound

from innervate_environments import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from innervate_service.auth import Identity

    from innervate_environments.slots import Seats

_MAX_REQUEST_ID: Final = 128
_MAX_SWEEP_SECONDS: Final = 5.0


@dataclass(eq=False)
class Lease:
    """Some slots of one caller."""

    id: str
    owner: Identity
    seats: Seats
    autoreset: bool
    request_id: str
    streamed: bool
    """It lives as long as its stream, and not by the clock."""
    used: float
    busy: bool = False
    over: bool = field(default=False)


class Leases:
    """All leases of a server.

    Parameters
    ----------
    capacity
        Slots.
    seconds
        A lease without a stream that is not used for so long ends.
    take
        Gives slots, of those that are free.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        *,
        capacity: int,
        seconds: float,
        take: Callable[[int, bool], Seats],
        clock: Callable[[], float],
    ) -> None:
        self.capacity = capacity
        self.seconds = seconds
        self.free = capacity
        """Slots without a lease."""
        self._take = take
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self._by_request: dict[tuple[Identity, str], Lease] = {}
        self._count()

    def open(self, owner: Identity, slots: int, *, request_id: str, autoreset: bool, streamed: bool) -> Lease:
        """Take a lease, or find the one that the same request took.

        Raises
        ------
        InvalidArgument
            It asks for what no server could give.
        AlreadyExists
            The request's id was used for another lease.
        Exhausted
            Too few slots are free.
        """
        if not 1 <= slots <= self.capacity:
            raise InvalidArgument("slots", slots, f"must be 1 to {self.capacity}, this server's capacity")
        if len(request_id) > _MAX_REQUEST_ID:
            raise InvalidArgument("request_id", request_id, f"must have at most {_MAX_REQUEST_ID} characters")
        self.sweep()
        key = (owner, request_id)
        # A stream that breaks takes its lease with it: there is none to be found again.
        if request_id and not streamed and key in self._by_request:
            lease = self._by_request[key]
            if (lease.seats.count, lease.autoreset) != (slots, autoreset):
                raise AlreadyExists("lease of request", request_id, "use an id of its own for each request")
            lease.used = self._clock()
            return lease
        if slots > self.free:
            raise Exhausted(
                f"slots = {slots}: {self.free} of {self.capacity} slots are free; ask for less, try again "
                "later, or raise the Environment's capacity or replicas",
                reason="NO_FREE_SLOTS",
            )
        seats = self._take(slots, autoreset)
        self.free -= slots
        lease = Lease(
            secrets.token_hex(16), owner, seats, autoreset, request_id, streamed, used=self._clock()
        )
        self._leases[lease.id] = lease
        if request_id and not streamed:
            self._by_request[key] = lease
        metrics.LEASES.labels("opened").inc()
        self._count()
        return lease

    @contextmanager
    def use(self, owner: Identity, lease_id: str) -> Iterator[Lease]:
        """A lease, for one call at a time.

        Raises
        ------
        NotFound
            The caller has no such lease (any more).
        Aborted
            Another call is at work on it.
        """
        self.sweep()
        lease = self._leases.get(lease_id)
        if lease is None or lease.owner != owner:
            raise NotFound("lease", lease_id, "it ended, or was never this caller's; open another")
        if lease.busy:
            raise Aborted("another call is at work on this lease; make one call at a time")
        lease.busy = True
        try:
            yield lease
        finally:
            lease.busy = False
            lease.used = self._clock()

    def close(self, owner: Identity, lease_id: str) -> None:
        """End a lease; one that is unknown is ended already."""
        lease = self._leases.get(lease_id)
        if lease is not None and lease.owner == owner:
            self.end(lease, "closed")

    def end(self, lease: Lease, event: str) -> None:
        """End a lease; a second time changes nothing."""
        if lease.over:
            return
        lease.over = True
        del self._leases[lease.id]
        self._by_request.pop((lease.owner, lease.request_id), None)
        lease.seats.close()
        self.free += lease.seats.count
        metrics.LEASES.labels(event).inc()
        self._count()

    def sweep(self) -> None:
        """End the leases that were not used for too long."""
        now = self._clock()
        late = [
            lease
            for lease in self._leases.values()
            if not lease.busy and not lease.streamed and now - lease.used > self.seconds
        ]
        for lease in late:
            self.end(lease, "expired")

    async def follow(self) -> None:
        """Sweep every now and then."""
        while True:
            await asyncio.sleep(min(self.seconds / 4, _MAX_SWEEP_SECONDS))
            self.sweep()

    def _count(self) -> None:
        metrics.SLOTS.labels("free").set(self.free)
        metrics.SLOTS.labels("leased").set(self.capacity - self.free)
