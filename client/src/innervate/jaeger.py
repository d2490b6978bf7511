"""Traces as Jaeger's query API tells them."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from innervate.errors import InvalidArgument, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACE_ID = re.compile(r"[0-9a-f]{16}([0-9a-f]{16})?")
_POLL_S = 0.5
_SETTLE_S = 3.0
"""Services send their spans every second, and the collector takes one to decide: a trace whose last span
is younger may lack some."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step of a trace.

    Parameters
    ----------
    id, parent
        Ids; the parent is empty for a root, and may be unknown where a span got lost.
    service, operation
        Who did what.
    start_us, duration_us
        Microseconds since the epoch, and how long.
    error
        Why it failed; None where it did not. Empty where it did without a word.
    attributes
        Everything else that was recorded.
    """

    id: str
    parent: str
    service: str
    operation: str
    start_us: int
    duration_us: int
    error: str | None
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace: its spans, earliest first."""

    id: str
    spans: tuple[Span, ...]

    @property
    def start_us(self) -> int:
        """Start of the earliest span, microseconds since the epoch."""
        return min(span.start_us for span in self.spans)

    @property
    def duration_us(self) -> int:
        """Time from the start of the earliest to the end of the latest span."""
        return max(span.start_us + span.duration_us for span in self.spans) - self.start_us

    def walk(self, *, siblings: int | None = None) -> Iterator[tuple[Span, int, int]]:
        """Yield spans with their depth, parents before children, each level by start.

        Parameters
        ----------
        siblings
            Of the children of one span that do the same, leave out those above this number, but for
            failed ones, with all that is below them.

        Yields
        ------
        Span
            The span.
        int
            Its depth.
        int
            How many that do the same were left out before it: on the last one that is shown.
        """
        known = {span.id for span in self.spans}
        children: dict[str, list[Span]] = {}
        for span in self.spans:
            children.setdefault(span.parent if span.parent in known else "", []).append(span)
        pending = [(span, 0, left_out) for span, left_out in _folded(children.get("", []), siblings)]
        while pending:
            span, depth, left_out = pending.pop()
            yield span, depth, left_out
            below = _folded(children.get(span.id, []), siblings)
            pending += [(child, depth + 1, left_out) for child, left_out in below]


def _folded(level: list[Span], siblings: int | None) -> list[tuple[Span, int]]:
    """Spans to show, the last one first, each with how many like it were left out."""
    seen: Counter[tuple[str, str]] = Counter()
    left_out: Counter[tuple[str, str]] = Counter()
    shown: list[tuple[Span, int]] = []
    for span in level:
        like = span.service, span.operation
        seen[like] += 1
        if siblings is None or seen[like] <= siblings or span.error is not None:
            shown.append((span, seen[like]))
        else:
            left_out[like] += 1
    return [
        (span, left_out[span.service, span.operation] if number == siblings else 0)
        for span, number in reversed(shown)
    ]


def trace_id(text: str) -> str:
    """Trace id of a traceparent or of a trace id.

    Raises
    ------
    InvalidArgument
        If it is neither.
    """
    lowered = text.lower()
    if match := _TRACEPARENT.fullmatch(lowered):
        return match[1]
    if _TRACE_ID.fullmatch(lowered):
        return lowered
    raise InvalidArgument(
        f"{text!r} is neither a traceparent nor a trace id",
        fix="give one of them, or kind/name such as memorystore/support",
    )


def fetch(url: str, trace: str, *, wait_s: float) -> Trace:
    """Read a trace.

    Parameters
    ----------
    url
        Jaeger's query service, ``http://host:16686``.
    trace
        The trace's id.
    wait_s
        How long to wait for a trace that has not arrived yet, or may not be complete: collectors
        decide seconds later.

    Raises
    ------
    NotFound
        If it has not arrived by then.
    Unavailable
        If the query service does not answer.
    """
    # Every other command would start a fifth of a second later with it.
    import httpx  # noqa: PLC0415

    deadline = time.monotonic() + wait_s
    proxied = not url.startswith("http://127.0.0.1:")
    while True:
        try:
            address = f"{url.rstrip('/')}/api/traces/{trace}"
            answer = httpx.get(address, timeout=10.0, trust_env=proxied)
        except httpx.HTTPError as error:
            raise Unavailable(f"the trace store at {url} does not answer: {error}") from None
        if answer.status_code == httpx.codes.OK and (found := answer.json().get("data")):
            result = parse(found[0])
            age = time.time() - (result.start_us + result.duration_us) / 1e6
            if not 0 <= age < _SETTLE_S or time.monotonic() >= deadline:
                return result
            time.sleep(min(_SETTLE_S - age, max(0.0, deadline - time.monotonic())))
            continue
        if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
            raise Unavailable(f"the trace store at {url} answers {answer.status_code}: {answer.text[:200]}")
        if time.monotonic() >= deadline:
            raise NotFound(
                f"the trace store has no trace {trace}",
                fix="traces arrive seconds late, and only of what is sampled: try again, or with --wait 60",
            )
        time.sleep(_POLL_S)


def parse(data: Mapping[str, Any]) -> Trace:
    """Trace from one element of the query API's `data`."""
    services = {key: process["serviceName"] for key, process in data["processes"].items()}
    spans = [_span(span, services) for span in data["spans"]]
    return Trace(data["traceID"], tuple(sorted(spans, key=lambda span: span.start_us)))


def _span(data: Mapping[str, Any], services: Mapping[str, str]) -> Span:
    tags = {tag["key"]: tag["value"] for tag in data.get("tags") or ()}
    parents = [each["spanID"] for each in data.get("references") or () if each["refType"] == "CHILD_OF"]
    failed = tags.get("error") in (True, "true") or tags.get("otel.status_code") == "ERROR"
    return Span(
        id=data["spanID"],
        parent=parents[0] if parents else "",
        service=services.get(data["processID"], "?"),
        operation=data["operationName"],
        start_us=data["startTime"],
        duration_us=data["duration"],
        error=str(tags.get("otel.status_description", tags.get("error.type", ""))) if failed else None,
        attributes=tags,
    )
