"""Connections to engines: HTTP/1.1, one request at a time, kept open between requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

import httptools

if TYPE_CHECKING:
    from innervate_gateway.endpoints import Endpoint

_IDLE_SECONDS: Final = 30.0
"""How long an idle connection is used again, unless the engine says less."""
_MAX_HEAD_BYTES: Final = 64 * 1024
_KEPT: Final = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"retry-after", b"cache-control"}
)
"""Headers of an answer that callers get; all others are between the engine and us."""


class Answer(Protocol):
    """Who is told about the answer to a request."""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Status and headers have arrived; their names are in lower case."""

    def on_data(self, data: bytes) -> None:
        """A part of the body has arrived."""

    def on_end(self, *, framed: bool) -> None:
        """The answer is complete; its connection is no longer ours.

        Parameters
        ----------
        framed
            Whether its end was told: of another one, the connection's end is all that is known.
        """

    def on_failed(self, reason: str, *, fresh: bool) -> None:
        """The answer will not become complete.

        Parameters
        ----------
        reason
            What happened.
        fresh
            Whether the connection was new: an old one may have been closed for its age at the moment it
            was used, which says nothing about the engine.
        """


class UpstreamConnection:
    """A connection to an engine.

    It does what an `asyncio.Protocol` does without being one, see `answering.AnsweringConnection`.

    Parameters
    ----------
    endpoint
        Gets it back when it is idle.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_done",
        "_endpoint",
        "_framed",
        "_fresh",
        "_head_bytes",
        "_headers",
        "_idle_seconds",
        "_loop",
        "_parser",
        "_reusable",
        "_status",
        "_told",
        "_transport",
        "_usable_until",
    )

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._fresh = True
        self._idle_seconds = _IDLE_SECONDS
        self._usable_until = float("inf")
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._status = 0
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._framed = False
        self._reusable = False
        self._told = False
        self._done = False
        self._body: list[bytes] = []

    def usable(self, now: float) -> bool:
        """Whether it can carry another request."""
        return self._transport is not None and not self._transport.is_closing() and now < self._usable_until

    def send(self, answer: Answer, head: bytes, body: bytes) -> None:
        """Send a request; the answer is told to `answer`."""
        assert self._transport is not None  # noqa: S101  it is connected
        self._answer = answer
        self._transport.writelines((head, body))

    def cancel(self) -> None:
        """Nobody wants the answer any more: the engine learns it by the end of the connection."""
        self._answer = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        """Read no more until `resume`: whoever gets the answer is slower than the engine."""
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if (
            self._transport is not None
            and not self._transport.is_reading()
            and not self._transport.is_closing()
        ):
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is a Transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._answer is None:
            # An engine that talks unasked would answer the next request with what belongs to none.
            self._abort()
            return
        if not self._status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"its answer is no HTTP: {error}")
            return
        if not self._status and self._head_bytes > _MAX_HEAD_BYTES:
            self._fail("its answer's head is too long")
            return
        self._tell()

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`: an engine that sends no more has ended the connection."""
        return False

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: it sends one request, which is held in memory anyway."""

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._endpoint.lost(self)
        if self._answer is None:
            return
        if self._status and not self._framed and exc is None:
            # Neither length nor chunks: the end of the connection is the end of the answer.
            self._done = True
            self._tell()
        else:
            self._fail(f"the connection ended: {exc}" if exc else "it closed the connection")

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        name = name.lower()
        if name in _KEPT:
            self._headers[name] = value
        elif name in {b"content-length", b"transfer-encoding"}:
            self._framed = True
        elif name == b"keep-alive":
            self._idle_seconds = min(_IDLE_SECONDS, _timeout_of(value) - 1.0)

    def on_headers_complete(self) -> None:
        """See httptools."""
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
            self._framed = self._framed or status in {204, 304}
        else:
            self._headers, self._framed = {}, False

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        if self._status:
            if self._done:
                self._reusable = False  # a second answer to one request
                return
            self._done = True
            self._reusable = self._parser.should_keep_alive()

    def _tell(self) -> None:
        """Hand on what one read brought, outside the parser's callbacks."""
        answer = self._answer
        if answer is None or not self._status:
            return
        if not self._told:
            self._told = True
            answer.on_head(self._status, self._headers)
        if self._body and self._answer is answer:
            body, self._body = self._body, []
            answer.on_data(body[0] if len(body) == 1 else b"".join(body))
        if self._done and self._answer is answer:
            self._answer, framed = None, self._framed
            if self._reusable and self._transport is not None and not self._transport.is_closing():
                self._fresh = False
                self._reset()
                self.resume()
                self._usable_until = self._loop.time() + self._idle_seconds
                self._endpoint.give(self)
            elif self._transport is not None:
                self._transport.close()
            answer.on_end(framed=framed)

    def _fail(self, reason: str) -> None:
        answer, self._answer = self._answer, None
        # Bytes of an answer prove that the connection was not simply too old.
        fresh = self._fresh or bool(self._status or self._head_bytes)
        self._abort()
        if answer is not None:
            answer.on_failed(reason, fresh=fresh)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _timeout_of(value: bytes) -> float:
    """The seconds in ``timeout=5, max=100``."""
    for part in value.split(b","):
        name, _, number = part.strip().partition(b"=")
        if name.lower() == b"timeout" and number.isdigit():
            return float(number)
    return _IDLE_SECONDS
