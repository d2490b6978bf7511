"""How a caller's connection answers: whole or as a stream, and no faster than the caller takes it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from innervate_gateway import wire

if TYPE_CHECKING:
    import asyncio

    from innervate_gateway.core import Core, Work
    from innervate_gateway.errors import Refusal
    from innervate_gateway.request import Request

WRITE_BUFFER_BYTES: Final = 256 * 1024
"""What is given to a transport at once, and what it may hold before nothing more is."""
_JOINED_BYTES: Final = 16 * 1024
"""A longer body is not copied to stand behind its head."""


class AnsweringConnection:
    """A connection that answers its current request.

    It does what an `asyncio.Protocol` does without being one: a class that is to be compiled can't inherit
    from one that is not.

    Parameters
    ----------
    core
        What all connections share.
    """

    __slots__ = (
        "_chunked",
        "_core",
        "_current",
        "_deadline",
        "_owed",
        "_rest",
        "_transport",
        "congested",
        "due",
        "work",
    )

    def __init__(self, core: Core) -> None:
        self._core = core
        self.work: Work | None = None
        """What is being done for the current request."""
        self.due = float("inf")
        """Event loop time at which a time limit is reached."""
        self.congested = False
        """Whether the caller takes its answer slower than it comes."""
        self._deadline = float("inf")
        self._transport: asyncio.Transport | None = None
        self._current: Request | None = None
        self._chunked = False
        self._rest: memoryview | None = None
        self._owed = 0

    def begin_work(self, work: Work, *, deadline: float) -> None:
        """Say what is being done for the current request, and until when it may take."""
        self.work = work
        self.due = self._deadline = deadline

    def refuse(self, refusal: Refusal, headers: bytes = b"") -> None:
        """Answer the current request with an error."""
        self.answer(refusal.status, wire.refusal_headers(refusal) + headers, refusal.body())

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """Answer the current request."""
        transport = self._transport
        if transport is None:
            return
        head = wire.head(status, self._core.date, headers, length=len(body), close=self._closes)
        if len(body) < _JOINED_BYTES:
            transport.write(head + body)
        elif len(body) <= WRITE_BUFFER_BYTES:
            transport.writelines((head, body))
        else:
            # A transport takes whatever it is given, and what it holds is counted by nobody.
            self.due = self._deadline = float("inf")
            self._rest = memoryview(body)
            transport.write(head)
            self._send_rest()
            return
        self._done()

    def owe(self, size: int) -> None:
        """Take over bytes that are counted as held: the answer's, until the caller took all but the last."""
        if self._rest is None:
            self._core.release(size)
        else:
            self._owed += size

    def begin_stream(self, headers: bytes) -> None:
        """Begin an answer whose length is not known."""
        transport, current = self._transport, self._current
        if transport is None or current is None:
            return
        self._chunked = current.version != "1.0"
        if self._chunked:
            headers += b"transfer-encoding: chunked\r\n"
        else:
            current.keep_alive = False
        transport.write(wire.head(200, self._core.date, headers, length=None, close=self._closes))

    def stream(self, data: bytes) -> None:
        """Send a part of it."""
        if self._transport is not None and data:
            self._transport.write(wire.chunk(data) if self._chunked else data)

    def end_stream(self, data: bytes) -> None:
        """Send the last part of it."""
        if self._transport is not None:
            self._transport.write(wire.last_chunks(data) if self._chunked else data)
            self._done()

    def abort(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()

    @abstractmethod
    def _done(self) -> None:
        """The current request is answered."""

    @property
    def _closes(self) -> bool:
        """Whether the connection ends with the current answer."""
        return self._current is None or not self._current.keep_alive or self._core.draining

    def _go_on_answering(self) -> None:
        """The caller takes on."""
        if self._rest is not None:
            self._send_rest()
        elif self.work is not None:
            self.work.resume()

    def _send_rest(self) -> None:
        transport, rest = self._transport, self._rest
        while rest and transport is not None and not self.congested and not transport.is_closing():
            transport.write(rest[:WRITE_BUFFER_BYTES])
            rest = self._rest = rest[WRITE_BUFFER_BYTES:]
        if not rest:
            self._forget()
            self._done()

    def _forget(self) -> None:
        """Hold nothing more of an answer."""
        self._rest = None
        self._core.release(self._owed)
        self._owed = 0
