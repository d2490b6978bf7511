"""How answers look on the wire: HTTP/1.1 as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from innervate_gateway.errors import PHRASES

if TYPE_CHECKING:
    from innervate_gateway.errors import Refusal

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
JSON: Final = b"content-type: application/json\r\n"
_CLOSE: Final = b"connection: close\r\n"
_STATUS_LINES: Final = {status: b"HTTP/1.1 %d %b\r\n" % (status, text) for status, text in PHRASES.items()}


def head(status: int, date: bytes, headers: bytes, *, length: int | None, close: bool) -> bytes:
    """The head of an answer.

    Parameters
    ----------
    status
        Its code.
    date, headers
        Whole lines of headers.
    length
        Of the body; None where it comes in chunks, or ends with the connection.
    close
        Whether the connection ends with it.
    """
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status
    framing = b"" if length is None else b"content-length: %d\r\n" % length
    return b"%b%b%b%b%b\r\n" % (line, date, framing, headers, _CLOSE if close else b"")


def chunk(data: bytes) -> bytes:
    """A part of a body that comes in chunks."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunks(data: bytes) -> bytes:
    """The last part of such a body, and its end."""
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"


def id_header(request_id: str) -> bytes:
    """The line that tells a request's id."""
    return b"x-innervate-request-id: %b\r\n" % request_id.encode()


def refusal_headers(refusal: Refusal) -> bytes:
    """The lines that go with a refusal."""
    if refusal.retry_after is None:
        return JSON
    return b"%bretry-after: %d\r\n" % (JSON, refusal.retry_after)
