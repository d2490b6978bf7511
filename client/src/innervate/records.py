"""What goes into a memory store and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta


class RecordKind(StrEnum):
    """What a record is about, which decides nothing but filtering."""

    UNSPECIFIED = "unspecified"
    """Not said."""
    TURN = "turn"
    """One utterance of a conversation."""
    FACT = "fact"
    """A statement held to be true."""
    PROCEDURE = "procedure"
    """How something is done."""
    EVENT = "event"
    """Something that happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """Something to remember.

    Parameters
    ----------
    text
        What is remembered; at most 64 KiB of UTF-8.
    kind
        What it is about.
    key
        Your own key: putting the same key twice stores one record. Drawn by the client when
        left out, so that its own retries store one record too.
    user_id, agent_id, session_id
        Whom and what it belongs to; turns of one session are recalled together.
    metadata
        Anything else to filter by.
    valid_from, valid_until
        When the statement holds, with a time zone; open where left out. Start inclusive, end exclusive.
    source
        Where it came from: a URI, a tool's name, a document.
    ttl
        How long it is kept; None for the store's default, zero for ever.
    """

    text: str
    kind: RecordKind = RecordKind.UNSPECIFIED
    key: str = ""
    user_id: str = ""
    agent_id: str = ""
    session_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    source: str = ""
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something remembered; fields as in `NewRecord`, and what the service adds.

    Parameters
    ----------
    id
        Unique in the store; sorts by the time of putting.
    space
        The partition of records it belongs to.
    create_time, expire_time
        When it was put, and when it will be gone (None for never).
    supersedes, superseded_by
        Ids of the record it replaced and of the one that replaced it; empty where there is none.
    """

    id: str
    space: str
    key: str
    text: str
    kind: RecordKind
    user_id: str
    agent_id: str
    session_id: str
    metadata: Mapping[str, str]
    valid_from: datetime | None
    valid_until: datetime | None
    source: str
    create_time: datetime | None
    expire_time: datetime | None
    supersedes: str
    superseded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PutResult:
    """What became of a record that was put.

    Parameters
    ----------
    id
        Its id.
    created
        False when its key was already there with the same content.
    """

    id: str
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchHit:
    """A record that matches.

    Parameters
    ----------
    record
        The record.
    score
        Comparable within one answer only: the sum of the z-normalised parts.
    turn_score, session_score
        The parts: of the record itself, and of the session it belongs to.
    """

    record: Record
    score: float
    turn_score: float
    session_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which records count; everything given must match.

    Parameters
    ----------
    kinds
        Any of these kinds.
    user_id, agent_id, session_id
        Exactly this id.
    metadata
        Every pair must be equal.
    """

    kinds: Sequence[RecordKind] = ()
    user_id: str = ""
    agent_id: str = ""
    session_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether it lets everything through."""
        return not (self.kinds or self.user_id or self.agent_id or self.session_id or self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Records read by id.

    Parameters
    ----------
    records
        Those that are there, in the order asked for.
    missing
        Ids of those that are not.
    """

    records: tuple[Record, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a space, or the whole store, holds.

    Parameters
    ----------
    records, spaces
        Counts.
    size_bytes
        Bytes used in the backing store.
    limit_bytes
        Configured limit of the backing store; 0 when there is none.
    durability
        What a write waits for before it is acknowledged: ``Always`` or ``EverySecond``.
    """

    records: int
    spaces: int
    size_bytes: int
    limit_bytes: int
    durability: str
