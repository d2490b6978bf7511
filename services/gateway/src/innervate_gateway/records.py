"""What the exchange log holds: records of exchanges, their ids, and the names of its keys."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, fields
from enum import IntEnum
from hashlib import blake2b
from operator import attrgetter
from typing import Final

import orjson

from innervate_gateway.errors import Refusal, Refused

BUCKET_MS: Final = 600_000
"""Indexes and feedback are kept in a hash for each ten minutes, which expires as a whole."""
_PREFIX: Final = "innervate:{exchange}:"
_TIME_DIGITS: Final = 11
UNCOUNTED: Final = "!"
"""Unit of an exchange that counts for no arm: its caller chose the release."""
ALONE: Final = "-"
"""Unit of an exchange without a session: it stands for itself."""

STREAM: Final = f"{_PREFIX}log"
ARMS: Final = f"{_PREFIX}arms"


class Outcome(IntEnum):
    """How an exchange ended; the numbers are those of the interface."""

    ANSWERED = 1
    FAILED = 2
    EXPIRED = 3
    ABANDONED = 4


_FAILURES: Final = (Outcome.FAILED, Outcome.EXPIRED)
"""No set: an enumeration's members take their time to be hashed."""


class RequestIds:
    """Makes request ids: the time in milliseconds and 80 random bits, so that they cannot be guessed."""

    def __init__(self) -> None:
        self._random = b""

    def next(self) -> str:
        """A new id."""
        if not self._random:
            # The system is asked once for many.
            self._random = secrets.token_bytes(640)
        taken, self._random = self._random[:10], self._random[10:]
        return f"{time.time_ns() // 1_000_000:0{_TIME_DIGITS}x}-{taken.hex()}"


def time_of(request_id: str) -> int | None:
    """Milliseconds since 1970 at which a request arrived; None where the text is no request id."""
    stamp, dash, rest = request_id.partition("-")
    if not dash or len(stamp) != _TIME_DIGITS or len(rest) != 20 or not request_id.isascii():
        return None
    try:
        int(rest, 16)
        return int(stamp, 16)
    except ValueError:
        return None


def unit_of(tenant: str, session: str) -> str:
    """What a session counts as."""
    return blake2b(f"{tenant}\n{session}".encode(), digest_size=12).hexdigest() if session else ALONE


def bucket(time_ms: int) -> int:
    """The bucket of a time."""
    return time_ms // BUCKET_MS


def bucket_end(number: int) -> int:
    """When a bucket's last time is over, milliseconds since 1970."""
    return (number + 1) * BUCKET_MS


def index_key(number: int) -> str:
    """Where the requests of a bucket are found by id."""
    return f"{_PREFIX}index:{number}"


def feedback_key(number: int) -> str:
    """Where feedback on the requests of a bucket is kept."""
    return f"{_PREFIX}feedback:{number}"


def counts_key(arm: str) -> str:
    """Where an arm's counts are."""
    return f"{_PREFIX}counts:{arm}"


def units_key(arm: str, name: str) -> str:
    """Where the sessions are that were counted for an arm and a feedback's name."""
    return f"{_PREFIX}units:{arm}:{name}"


def writer_key(writer: str) -> str:
    """Where a gateway's last batch is noted."""
    return f"{_PREFIX}writer:{writer}"


@dataclass(slots=True, kw_only=True)
class Record:
    """One exchange as it is kept."""

    request_id: str
    time_ms: int
    tenant: str
    session: str
    task: str
    arm: str
    release: str
    variant: str = ""
    propensity: float = 0.0
    """Probability of the arm; 0 where the caller named the release."""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: str = ""
    queued_ms: int = 0
    first_token_ms: int = 0
    total_ms: int = 0
    outcome: int = Outcome.FAILED
    status_code: int = 0
    trace_id: str = ""
    request_digest: str = ""
    response_digest: str = ""
    request_content: str = ""
    response_content: str = ""

    @property
    def counted(self) -> bool:
        """Whether it counts for its arm: traffic chose it, not the caller."""
        return self.propensity > 0

    @property
    def failed(self) -> bool:
        """Whether it counts as an error: the caller's going away does not."""
        return self.outcome in _FAILURES

    def encode(self) -> bytes:
        """The record as a JSON list: its fields in the order above, so that short records stay short."""
        return orjson.dumps(_values(self))


_NAMES: Final = tuple(each.name for each in fields(Record))
_values: Final = attrgetter(*_NAMES)


@dataclass(frozen=True)
class Given:
    """Feedback on an exchange."""

    name: str
    value: float
    expected: str


@dataclass(frozen=True)
class Listed:
    """An exchange read from the log, with its feedback."""

    record: Record
    feedback: tuple[Given, ...] = field(default=())


def decode(text: bytes) -> Record:
    """Read a record. New fields stand last: an older record lacks them, an older gateway passes them over."""
    values = orjson.loads(text)
    return Record(**dict(zip(_NAMES, values, strict=False)))


def label(value: str, header: str) -> str:
    """Check what a caller wants to be written into a record.

    Raises
    ------
    Refused
        It is longer than 256 characters or holds others than printable ASCII.
    """
    if len(value) > 256 or not value.isascii() or not value.isprintable():
        raise Refused(
            Refusal(400, "invalid_header", f"{header} must be 1 to 256 printable ASCII characters", header)
        )
    return value
