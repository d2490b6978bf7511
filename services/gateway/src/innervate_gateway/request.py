"""A caller's request, gathered from the parser's callbacks and checked as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from innervate_gateway.errors import Refusal, Refused
from innervate_gateway.records import label

if TYPE_CHECKING:
    from innervate_service.auth import Identity

    from innervate_gateway.config import LimitsConfig

COMPLETIONS: Final = {"/v1/chat/completions": "chat", "/v1/completions": "text_completion"}
"""Paths of completions, to what OpenTelemetry calls the operation."""
MODELS: Final = "/v1/models"
MAX_HEADERS: Final = 128
_FIELDS: Final = {
    b"authorization": "authorization",
    b"expect": "expect",
    b"traceparent": "traceparent",
    b"tracestate": "tracestate",
    b"x-innervate-session": "session",
    b"x-innervate-task": "task",
    b"x-innervate-release": "release",
    b"x-innervate-deadline-seconds": "deadline",
    b"content-length": "length",
    b"content-encoding": "encoding",
}
"""The headers that mean anything to the gateway; no other is read, and none reaches an engine."""


class Request:
    """One request of a connection."""

    __slots__ = (
        "arrived",
        "authorization",
        "body",
        "chunks",
        "complete",
        "deadline",
        "encoding",
        "expect",
        "held",
        "identity",
        "keep_alive",
        "length",
        "method",
        "path",
        "raw",
        "refusal",
        "release",
        "request_id",
        "seconds",
        "session",
        "size",
        "target",
        "task",
        "traceparent",
        "tracestate",
        "version",
    )

    def __init__(self, request_id: str, arrived: float) -> None:
        self.request_id = request_id
        self.arrived = arrived
        """Event loop time."""
        self.method = ""
        self.target = b""
        self.path = ""
        """What is asked for, without the query; known once the head was checked."""
        self.version = "1.1"
        self.raw: list[tuple[bytes, bytes]] = []
        """The headers as they came."""
        self.size = 0
        """Bytes of the headers."""
        self.authorization = self.expect = self.traceparent = self.tracestate = ""
        self.session = self.task = self.release = self.deadline = self.length = self.encoding = ""
        self.keep_alive = True
        self.identity: Identity | None = None
        self.seconds: float | None = None
        """The deadline that the caller asks for."""
        self.refusal: Refusal | None = None
        """Why it will not be done, known before its body."""
        self.chunks: list[bytes] = []
        self.body = b""
        self.held = 0
        """Bytes counted as held."""
        self.complete = False

    def read_headers(self) -> None:
        """Take what the headers say."""
        raw, self.raw = self.raw, []
        if len(raw) > MAX_HEADERS:
            self.refuse(Refusal(431, "headers_too_many", f"at most {MAX_HEADERS} headers are read"))
            return
        size = 4 * len(raw)
        for name, value in raw:
            size += len(name) + len(value)
            field = _FIELDS.get(name) or _FIELDS.get(name.lower())
            if field is None:
                continue
            if getattr(self, field):
                text = name.decode("latin-1").lower()
                self.refuse(Refusal(400, "duplicate_header", f"{text} must be sent once", text))
                return
            setattr(self, field, value.decode("latin-1").strip())
        self.size = size

    def refuse(self, refusal: Refusal) -> None:
        """Note why it will not be done; the first reason counts."""
        if self.refusal is None:
            self.refusal = refusal

    def check(self, *, max_head_bytes: int, max_body_bytes: int) -> None:
        """Check the head, all but who sends it.

        Raises
        ------
        Refused
            It can be told already that the request will not be done.
        """
        if self.size + len(self.target) > max_head_bytes:
            raise Refused(head_too_large(max_head_bytes))
        self.path = self.target.partition(b"?")[0].decode("latin-1")
        expected = "POST" if self.path in COMPLETIONS else "GET" if self.path == MODELS else None
        if expected is None:
            known = ", ".join((*COMPLETIONS, MODELS))
            raise Refused(Refusal(404, "unknown_path", f"there is no {self.path[:100]!r}; there are {known}"))
        if self.method != expected:
            raise Refused(Refusal(405, "method_not_allowed", f"{self.path} takes {expected}"))
        if self.encoding and self.encoding.lower() != "identity":
            raise Refused(
                Refusal(400, "invalid_header", "content-encoding is not taken: send the body as it is")
            )
        if self.length.isdecimal() and int(self.length) > max_body_bytes:
            raise Refused(too_large(max_body_bytes))
        if self.session:
            label(self.session, "x-innervate-session")
        if self.task:
            label(self.task, "x-innervate-task")
        if self.deadline:
            self.seconds = _seconds(self.deadline)


def head_too_large(max_head_bytes: int) -> Refusal:
    """Refuses a head for its size."""
    return Refusal(431, "head_too_large", f"request line and headers have at most {max_head_bytes} bytes")


def too_large(max_body_bytes: int) -> Refusal:
    """Refuses a body for its size."""
    return Refusal(413, "body_too_large", f"the body must be at most {max_body_bytes} bytes")


def memory_full() -> Refusal:
    """Refuses a body because of all others."""
    message = "the gateway holds as much as it can; try again later"
    return Refusal(503, "memory_full", message, retry_after=1)


def too_late(request: Request, limits: LimitsConfig) -> Refusal:
    """Refuses a request that did not arrive in time."""
    part = (
        f"body within {limits.body_seconds:g}" if request.method else f"head within {limits.head_seconds:g}"
    )
    return Refusal(408, "request_timeout", f"the request did not have its {part} s")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    # NaN compares false with everything.
    if not 0 < seconds < float("inf"):
        name = "x-innervate-deadline-seconds"
        raise Refused(Refusal(400, "invalid_header", f"{name} must be a number of seconds above 0", name))
    return seconds
