"""Server-sent events as they pass: cut at any byte, handed on whole, read only where they must be."""

from __future__ import annotations

import re
from typing import Final

import orjson

from innervate_gateway.completions import Usage, usage_of

MAX_EVENT_BYTES: Final = 1024 * 1024
"""An event that is longer is none of a completion's."""
_ENDS: Final = re.compile(rb"(\r\n\r\n|\n\n|\r\r|\n\r\n)")
_DONE: Final = b"[DONE]"
_READ: Final = (b'"usage"', b'"timings"', _DONE)
"""What an event holds that must be read."""


class BadStream(Exception):
    """The engine's stream is no stream of events."""


class EventFilter:
    """Passes events on, notes the usage, and keeps the end back.

    Parameters
    ----------
    keep_usage
        Whether the event that only tells the usage is passed on: the caller asked for it.
    """

    __slots__ = ("_keep_usage", "_rest", "events", "held", "usage")

    def __init__(self, *, keep_usage: bool) -> None:
        self._keep_usage = keep_usage
        self._rest = b""
        self.events = 0
        """Pieces passed on."""
        self.held = b""
        """The end of the stream, ``[DONE]`` and what follows: for once the exchange is on record."""
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        """Take what the engine sent; give what the caller may have now.

        Raises
        ------
        BadStream
            An event has no end, or the stream none after its ``[DONE]``.
        """
        if self._rest:
            data = self._rest + data
        # Engines mostly send whole events.
        cut = len(data) if data.endswith(b"\n\n") else _last_end(data)
        if cut == 0:
            self._rest = data
            if len(data) > MAX_EVENT_BYTES:
                raise BadStream(f"an event of its stream is longer than {MAX_EVENT_BYTES} bytes")
            return b""
        whole = data if cut == len(data) else data[:cut]
        self._rest = data[cut:]
        if self.held:
            self.held += whole
            if len(self.held) > MAX_EVENT_BYTES:
                raise BadStream(f"its stream goes on for {MAX_EVENT_BYTES} bytes after its end")
            return b""
        first = min((place for place in map(whole.find, _READ) if place >= 0), default=-1)
        if first >= 0:
            start = _last_end(whole, first)
            whole = whole[:start] + self._read(whole[start:])
        if whole:
            self.events += 1
        return whole

    @property
    def done(self) -> bool:
        """Whether ``[DONE]`` has come, with the empty line behind it or without."""
        return bool(self.held) or _data(self._rest) == _DONE

    def finish(self) -> bytes:
        """What is left at the end of the stream, the held end included."""
        rest, self._rest = self._rest, b""
        held, self.held = self.held, b""
        return held + rest

    def _read(self, whole: bytes) -> bytes:
        passed: list[bytes] = []
        parts = _ENDS.split(whole)
        for event, end in zip(parts[::2], parts[1::2], strict=False):
            if self.held:
                self.held += event + end
            elif _DONE in event and _data(event) == _DONE:
                self.held = event + end
            elif self._passes(event):
                passed += (event, end)
        return b"".join(passed)

    def _passes(self, event: bytes) -> bool:
        if b'"usage"' not in event and b'"timings"' not in event:
            return True
        try:
            document = orjson.loads(_data(event))
        except orjson.JSONDecodeError:
            return True
        usage = usage_of(document)
        if usage is None:
            return True
        self.usage = usage
        only_usage = not document.get("choices") and isinstance(document.get("usage"), dict)
        return self._keep_usage or not only_usage


def _data(event: bytes) -> bytes:
    """The data of an event: its ``data:`` lines."""
    lines = (line.removeprefix(b"data:").strip() for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(lines)


def _last_end(data: bytes, before: int | None = None) -> int:
    """Where the last event ends that is whole by then; 0 where none is."""
    return max(
        place + len(end) if (place := data.rfind(end, 0, before)) >= 0 else 0
        for end in (b"\n\n", b"\n\r\n", b"\r\r")
    )
