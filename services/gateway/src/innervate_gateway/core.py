"""What all connections and exchanges of one gateway share."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from innervate_gateway.records import RequestIds

if TYPE_CHECKING:
    import asyncio

    from innervate_gateway.admission import Admission
    from innervate_gateway.callers import Callers
    from innervate_gateway.config import ContentPolicy, LimitsConfig
    from innervate_gateway.log import Done
    from innervate_gateway.records import Record
    from innervate_gateway.routes import RouteBook


class Log(Protocol):
    """Where exchanges are written."""

    def append(self, record: Record, done: Done) -> None:
        """Write a record, then tell `done`."""

    def problem(self, now: float) -> str | None:
        """Why no new exchange should begin."""


class Work(Protocol):
    """What is being done for a request."""

    def expire(self) -> None:
        """Its time is over."""

    def abandon(self) -> None:
        """The caller went away."""

    def pause(self) -> None:
        """The caller takes no more for now."""

    def resume(self) -> None:
        """The caller takes on."""


class Core:
    """The shared state.

    Parameters
    ----------
    loop
        The event loop that everything runs in.
    routes
        The routes in use.
    admission
        Places at engines.
    log
        Where exchanges are written.
    callers
        Tells callers by their tokens.
    limits
        What callers can make the gateway hold.
    content
        What the log keeps of bodies.
    deadline_seconds
        No exchange takes longer.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        routes: RouteBook,
        admission: Admission,
        log: Log,
        callers: Callers,
        limits: LimitsConfig,
        content: ContentPolicy,
        deadline_seconds: float,
    ) -> None:
        self.loop = loop
        self.routes = routes
        self.admission = admission
        self.log = log
        self.callers = callers
        self.limits = limits
        self.content = content
        self.deadline_seconds = deadline_seconds
        self.ids = RequestIds()
        self.created = int(time.time())
        """When the gateway began to offer its models, seconds since 1970."""
        self.draining = False
        """Whether connections are to be closed after their next answer."""
        self.buffered = 0
        """Bytes of bodies held."""
        self.date = b""
        """Now, as a line of headers."""
        self.tick()

    def tick(self) -> None:
        """Bring the date up to now; called about once a second."""
        self.date = f"date: {formatdate(usegmt=True)}\r\n".encode()

    def hold(self, size: int) -> bool:
        """Count bytes that are held; whether there is room for them."""
        if self.buffered + size > self.limits.max_buffered_bytes:
            return False
        self.buffered += size
        return True

    def release(self, size: int) -> None:
        """Count bytes that are no longer held."""
        self.buffered -= size
