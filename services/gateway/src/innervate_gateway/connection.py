"""A caller's connection: HTTP/1.1 in, one request after the other, and everything a caller may do wrong."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, cast

import httptools
from innervate_service.logs import get_logger

from innervate_gateway import metrics, wire
from innervate_gateway.answering import WRITE_BUFFER_BYTES, AnsweringConnection
from innervate_gateway.errors import Refusal, Refused
from innervate_gateway.request import MAX_HEADERS, Request, head_too_large, memory_full, too_large, too_late

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from innervate_gateway.core import Core

_LINGER_SECONDS: Final = 1.0
"""How long what a refused caller still sends is thrown away: closing at once could lose the refusal."""
_LINGER_BYTES: Final = 64 * 1024 * 1024
_MAX_WAITING: Final = 64
"""Requests that may wait behind one of the same connection; who sends more ahead is cut off."""
_log = get_logger(__name__)


class ClientConnection(AnsweringConnection):
    """A connection of a caller.

    Parameters
    ----------
    core
        What all connections share.
    connections
        Every open connection; this one adds and removes itself.
    begin
        Begins to do a complete request.
    """

    __slots__ = (
        "_begin",
        "_building",
        "_connections",
        "_idle_bytes",
        "_lingering",
        "_moved",
        "_parser",
        "_waiting",
    )

    def __init__(
        self,
        core: Core,
        connections: set[ClientConnection],
        begin: Callable[[ClientConnection, Request], None],
    ) -> None:
        super().__init__(core)
        self._connections = connections
        self._begin = begin
        self._parser = httptools.HttpRequestParser(self)
        self._building: Request | None = None
        self._waiting: deque[Request] = deque()
        self._idle_bytes = 0
        self._moved = False
        self._lingering = -1

    # -- asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        stream = self._transport = cast("asyncio.Transport", transport)
        if len(self._connections) >= self._core.limits.max_connections:
            stream.abort()
            return
        self._connections.add(self)
        metrics.CONNECTIONS.inc()
        stream.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.due = self._core.loop.time() + self._core.limits.head_seconds

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._lingering >= 0:
            self._lingering -= len(data)
            if self._lingering < 0:
                self.abort()
            return
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It is told after a whole request; what follows is not HTTP.
            self._waiting[-1].refuse(Refusal(501, "upgrade_refused", "no other protocol is spoken here"))
            self._waiting[-1].keep_alive = False
        except httptools.HttpParserError as error:
            self._refuse_unread(Refusal(400, "invalid_http", f"this is no HTTP request: {error}"))
            return
        building = self._building
        if building is not None:
            # The parser keeps what it has of a header, or of a line between chunks, until its end.
            self._idle_bytes = 0 if self._moved else self._idle_bytes + len(data)
            if self._idle_bytes > self._core.limits.max_head_bytes:
                building.refuse(head_too_large(self._core.limits.max_head_bytes))
            if building.refusal is not None:
                self._refuse_unread(building.refusal)
                return
        if self._current is None:
            self._next()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: who sends no more is taken to be gone."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """See `asyncio.Protocol`."""
        if self not in self._connections:
            return
        self._connections.remove(self)
        metrics.CONNECTIONS.dec()
        self._transport = None
        self.due = float("inf")
        for request in (self._building, self._current, *self._waiting):
            if request is not None:
                self._let_go(request)
        self._waiting.clear()
        self._forget()
        work, self.work = self.work, None
        if work is not None:
            work.abandon()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.congested = True
        self.due = min(self.due, self._core.loop.time() + self._core.limits.write_seconds)
        if self.work is not None:
            self.work.pause()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self.congested = False
        if self._current is not None:
            self.due = self._deadline
            self._go_on_answering()
        elif self._lingering < 0:
            self.due = self._core.loop.time() + self._core.limits.idle_seconds
            self._core.loop.call_soon(self._go_on)

    # -- httptools

    def on_message_begin(self) -> None:
        """See httptools."""
        if len(self._waiting) >= _MAX_WAITING:
            raise ValueError(f"more than {_MAX_WAITING} requests ahead of their answers")
        now = self._core.loop.time()
        self._building = Request(self._core.ids.next(), now)
        self._moved = True
        if self._takes_next:
            self.due = now + self._core.limits.head_seconds

    def on_url(self, url: bytes) -> None:
        """See httptools; a long one comes in parts."""
        if self._building is not None:
            self._building.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        request = self._building
        # What stands behind a body in chunks comes too late to be checked, and says nothing to us.
        if request is not None and not request.method and len(request.raw) <= MAX_HEADERS:
            request.raw.append((name, value))

    def on_headers_complete(self) -> None:
        """See httptools."""
        request, limits = self._building, self._core.limits
        if request is None:
            return
        request.method = self._parser.get_method().decode("latin-1")
        request.version = self._parser.get_http_version()
        request.keep_alive = self._parser.should_keep_alive()
        request.read_headers()
        if self._takes_next:
            self.due = self._core.loop.time() + limits.body_seconds
        if request.refusal is None:
            try:
                request.check(max_head_bytes=limits.max_head_bytes, max_body_bytes=limits.max_body_bytes)
                request.identity = self._core.callers.identify(request.authorization)
            except Refused as error:
                request.refuse(error.refusal)
        # Behind an earlier request it would stand in that one's answer; who waits for it goes on by itself.
        if request.expect and request.refusal is None and self._takes_next and self._transport is not None:
            self._transport.write(wire.CONTINUE)

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        request = self._building
        self._moved = True
        if request is None or request.refusal is not None:
            return
        size = len(body)
        if request.held + size > self._core.limits.max_body_bytes:
            request.refuse(too_large(self._core.limits.max_body_bytes))
        elif not self._core.hold(size):
            request.refuse(memory_full())
        else:
            request.held += size
            request.chunks.append(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        request = self._building
        if request is None:
            return
        self._building = None
        request.complete = True
        chunks = request.chunks
        request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        request.chunks = []
        self._waiting.append(request)
        if self._current is not None and self._transport is not None and self._transport.is_reading():
            # One request at a time: a caller that sends the next early waits here.
            self._transport.pause_reading()

    # -- times

    def on_due(self) -> None:
        """A time limit is reached."""
        self.due = float("inf")
        if self._lingering >= 0 or self.congested:
            self.abort()
        elif self._current is not None:
            if self.work is not None:
                self.work.expire()
        elif self._building is not None:
            self._refuse_unread(too_late(self._building, self._core.limits))
        else:
            self.close()

    def close(self) -> None:
        """Close it unless a request is being done or has begun to come; then after that."""
        if self._current is None and self._building is None and self._transport is not None:
            self._transport.close()

    # -- from one request to the next

    def _next(self) -> None:
        """Begin the request that came first; called with none in progress."""
        transport = self._transport
        while self._waiting and self._ready and transport is not None and not transport.is_closing():
            request = self._current = self._waiting.popleft()
            self.due = float("inf")
            if request.refusal is not None:
                metrics.REFUSED.labels(str(request.refusal.status)).inc()
                self.refuse(request.refusal, wire.id_header(request.request_id))
                continue
            try:
                self._begin(self, request)
            except Exception as bug:  # noqa: BLE001  the boundary: one caller's bug is not the others'
                _log.exception("a request could not be begun", bug, request_id=request.request_id)
                self.refuse(Refusal(500, "internal", "internal error"), wire.id_header(request.request_id))

    def _done(self) -> None:
        request, self._current = self._current, None
        self.work = None
        transport = self._transport
        if request is None or transport is None:
            return
        self._let_go(request)
        if not request.keep_alive or self._core.draining:
            transport.close()
            return
        now, limits = self._core.loop.time(), self._core.limits
        self.due = now + limits.idle_seconds
        if self.congested:
            # Nobody gets more answers before the last ones were taken.
            self.due = now + limits.write_seconds
            if transport.is_reading():
                transport.pause_reading()
        elif self._waiting or not transport.is_reading():
            # Not from here: whoever answers may still be at work on what it answered.
            self._core.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._ready or self._transport is None:
            return
        self._next()
        if self._takes_next and not self._transport.is_closing() and not self._transport.is_reading():
            self._transport.resume_reading()

    def _let_go(self, request: Request) -> None:
        self._core.release(request.held)
        request.held = 0

    def _refuse_unread(self, refusal: Refusal) -> None:
        """Refuse what was not read to its end, which leaves nothing to go on with."""
        metrics.REFUSED.labels(str(refusal.status)).inc()
        if self._current is not None or self._waiting:
            # The one before is not answered yet: an error now would look like its answer.
            self.abort()
            return
        request = self._building or Request(self._core.ids.next(), self._core.loop.time())
        request.keep_alive = False
        self._building = None
        self._let_go(request)
        if (transport := self._transport) is None:
            return
        body = refusal.body()
        headers = wire.refusal_headers(refusal) + wire.id_header(request.request_id)
        head = wire.head(refusal.status, self._core.date, headers, length=len(body), close=True)
        transport.write(head + body)
        self._lingering = _LINGER_BYTES
        self.due = self._core.loop.time() + _LINGER_SECONDS

    @property
    def _ready(self) -> bool:
        """Whether another request could be begun: none is, and the answers so far were taken."""
        return self._current is None and not self.congested

    @property
    def _takes_next(self) -> bool:
        """Whether the request being read is the next to be done."""
        return self._ready and not self._waiting
