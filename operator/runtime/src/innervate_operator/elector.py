"""One writer: a Lease held by one replica, and a deadline that every write is measured against.

The holder counts from before it sent its last successful renewal; a challenger counts from when it saw
that renewal. So the holder stops first, whatever their clocks say.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_kinds.api.kind import Kind, Reference
from innervate_service.logs import get_logger

from innervate_operator import metrics
from innervate_operator.errors import ApiError, LeadershipLost

if TYPE_CHECKING:
    from innervate_operator.client import Client
    from innervate_operator.clock import Clock

LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")

_log = get_logger(__name__)


class Timing(NamedTuple):
    """Seconds that the election is made of."""

    lease: float = 10.0
    """How long a lease is respected after its last renewal."""
    renew: float = 7.0
    """How long the holder writes after its last renewal."""
    retry: float = 2.0
    """Time between two tries, of either side."""
    request: float = 2.0
    """Time limit of a request about the lease."""


class Elector:
    """Takes, renews and releases the lease; the gate of every other write.

    Parameters
    ----------
    client
        Client without a gate.
    namespace, name
        Where the Lease is.
    identity
        Name of this replica; unique.
    clock
        Monotonic time counts; the time of day is only written down for people.
    timing
        Seconds.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        timing: Timing | None = None,
    ) -> None:
        self._timing = timing or Timing()
        self._client = client
        self._reference = Reference(LEASE, namespace, name)
        self._identity = identity
        self._clock = clock
        self._renewed_at = float("-inf")
        self._lease: dict[str, Any] | None = None
        self._seen: tuple[str, Any, Any] | None = None
        self._seen_at = float("-inf")
        self._lost = False
        self.leading = asyncio.Event()
        """Set when this replica may write; never cleared: lost leadership ends the process."""

    @property
    def leads(self) -> bool:
        """Whether a write may start now."""
        return self._until() > self._clock.monotonic()

    def remaining(self) -> float:
        """Seconds for which a write may still be under way.

        Raises
        ------
        LeadershipLost
            If none are left, or the lease was never taken.
        """
        now = self._clock.monotonic()
        if self._lost or self._until() <= now:
            raise LeadershipLost("this replica does not hold the lease (any more)")
        # A write may end after the last moment at which it may start, but before another replica starts.
        return self._renewed_at + self._timing.lease - now

    async def run(self) -> None:
        """Take the lease, then renew it until it is lost.

        Raises
        ------
        LeadershipLost
            When it could not be renewed in time, or was taken.
        """
        while not await self._try():
            await self._pause()
        metrics.LEADER.set(1)
        _log.info("leading", identity=self._identity)
        self.leading.set()
        try:
            while True:
                await self._clock.sleep(self._timing.retry)
                if not await self._try() and self._taken():
                    raise LeadershipLost("another replica took the lease")
                if not self.leads:
                    raise LeadershipLost(f"the lease could not be renewed for {self._timing.renew:.0f} s")
        finally:
            metrics.LEADER.set(0)

    async def release(self) -> None:
        """Give the lease up, so that another replica need not wait; call after the last write."""
        if self._lease is None or not self.leads:
            return
        self._lost = True
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        lease = {**self._lease, "spec": spec}
        try:
            await self._client.replace(self._reference, lease)
            _log.info("released the lease", identity=self._identity)
        except ApiError as error:
            _log.warning("the lease could not be released and will run out", error=error.message)

    async def _try(self) -> bool:
        """Take or renew; True when held afterwards."""
        started = self._clock.monotonic()
        try:
            if self._lease is not None:
                # The usual renewal is one request: what we wrote last is what is there.
                self._lease = await self._client.replace(self._reference, self._renewal(self._lease))
            else:
                taken = await self._take()
                if taken is None:
                    return False
                self._lease = taken
        except ApiError as error:
            if error.status in {404, 409}:
                # Somebody else wrote: look first, next time.
                self._lease = None
            _log.debug("the lease was not written", error=error.message)
            return False
        self._renewed_at = started
        return True

    async def _take(self) -> dict[str, Any] | None:
        lease = await self._client.get(self._reference)
        if lease is None:
            fresh = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"namespace": self._reference.namespace, "name": self._reference.name},
                "spec": self._spec(transitions=0),
            }
            return await self._client.create(self._reference, fresh, manager="innervate-elector")
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if holder not in {"", self._identity} and not self._expired(spec):
            return None
        transitions = int(spec.get("leaseTransitions") or 0) + (holder != self._identity)
        return await self._client.replace(
            self._reference, {**lease, "spec": self._spec(transitions=transitions)}
        )

    def _expired(self, spec: dict[str, Any]) -> bool:
        # Times written by others' clocks are compared with each other only, never with ours.
        seen = (spec.get("holderIdentity") or "", spec.get("renewTime"), spec.get("leaseTransitions"))
        now = self._clock.monotonic()
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        respected = float(spec.get("leaseDurationSeconds") or self._timing.lease)
        return now - self._seen_at > respected

    def _renewal(self, lease: dict[str, Any]) -> dict[str, Any]:
        return {**lease, "spec": {**lease["spec"], "renewTime": self._now()}}

    def _spec(self, *, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._timing.lease)),
            "acquireTime": self._now(),
            "renewTime": self._now(),
            "leaseTransitions": transitions,
        }

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _taken(self) -> bool:
        return self._lease is None and self._seen is not None and self._seen[0] not in {"", self._identity}

    def _until(self) -> float:
        return self._renewed_at + self._timing.renew

    async def _pause(self) -> None:
        # A fifth of jitter: two challengers must not collide for ever.
        await self._clock.sleep(self._timing.retry * random.uniform(0.9, 1.1))  # noqa: S311 -- as above
