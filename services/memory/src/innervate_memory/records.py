"""The domain's records, their identifiers and encoding. Times are integers: microseconds since 1970 UTC."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import orjson

MICROSECONDS: Final = 1_000_000


class Kind(IntEnum):
    """What a record is about; the values are those of the interface."""

    UNSPECIFIED = 0
    TURN = 1
    FACT = 2
    PROCEDURE = 3
    EVENT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a caller says about a record; two puts of one key must agree in all of it."""

    text: str
    key: str = ""
    kind: Kind = Kind.UNSPECIFIED
    user_id: str = ""
    agent_id: str = ""
    session_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    valid_from: int | None = None
    valid_until: int | None = None
    source: str = ""
    ttl: int | None = None
    """Microseconds; None means the store's default, 0 means for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A stored record."""

    id: str
    content: Content
    create_time: int
    expire_time: int | None = None
    superseded_by: str = ""
    supersedes: str = ""

    def expired(self, now: int) -> bool:
        """Whether its time to live is over."""
        return self.expire_time is not None and self.expire_time <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which records are meant; empty parts match everything."""

    kinds: frozenset[Kind] = frozenset()
    user_id: str = ""
    agent_id: str = ""
    session_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether every record matches."""
        return not (self.kinds or self.user_id or self.agent_id or self.session_id or self.metadata)

    def matches(self, content: Content) -> bool:
        """Whether a record's content passes."""
        return (
            (not self.kinds or content.kind in self.kinds)
            and self.user_id in ("", content.user_id)
            and self.agent_id in ("", content.agent_id)
            and self.session_id in ("", content.session_id)
            and all(content.metadata.get(name) == value for name, value in self.metadata.items())
        )


_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS: Final = 80


class IdSource:
    """Makes identifiers in the form of a ULID: 48 bits of milliseconds, 80 random, sortable as text.

    Within one source they strictly increase, also when the clock stands or steps back.

    Parameters
    ----------
    clock
        The time now, in microseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._last = 0

    def next(self) -> str:
        """Make the next identifier."""
        now = (self._clock() // 1000) << _RANDOM_BITS
        if now > self._last:
            # The top random bit stays clear, so that counting up within a millisecond never overflows it.
            self._last = now | secrets.randbits(_RANDOM_BITS - 1)
        else:
            self._last += 1 + secrets.randbits(32)
        return "".join(_ALPHABET[self._last >> shift & 31] for shift in range(125, -1, -5))


def id_time(record_id: str) -> int:
    """Tell when an identifier was made, in microseconds (to the millisecond)."""
    value = 0
    for character in record_id[:10]:
        value = value * 32 + _ALPHABET.index(character)
    return value * 1000


def is_id(text: str) -> bool:
    """Whether a text has the form of a record identifier."""
    return len(text) == 26 and all(character in _ALPHABET for character in text)


def digest(content: Content) -> str:
    """Fingerprint of a content, equal exactly when the contents are equal."""
    canonical = orjson.dumps(_content_fields(content), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()


def encode(record: Record) -> bytes:
    """Encode a record as the JSON that the store keeps; fields at their default are left out."""
    fields = {
        "id": record.id,
        "create_time": record.create_time,
        "expire_time": record.expire_time,
        "superseded_by": record.superseded_by,
        "supersedes": record.supersedes,
        **_content_fields(record.content),
    }
    return orjson.dumps({name: value for name, value in fields.items() if value not in (None, "", {})})


def decode(data: bytes) -> Record:
    """Decode what `encode` made."""
    fields = orjson.loads(data)
    content = Content(
        text=fields["text"],
        key=fields.get("key", ""),
        kind=Kind(fields.get("kind", 0)),
        user_id=fields.get("user_id", ""),
        agent_id=fields.get("agent_id", ""),
        session_id=fields.get("session_id", ""),
        metadata=fields.get("metadata", {}),
        valid_from=fields.get("valid_from"),
        valid_until=fields.get("valid_until"),
        source=fields.get("source", ""),
        ttl=fields.get("ttl"),
    )
    return Record(
        id=fields["id"],
        content=content,
        create_time=fields["create_time"],
        expire_time=fields.get("expire_time"),
        superseded_by=fields.get("superseded_by", ""),
        supersedes=fields.get("supersedes", ""),
    )


def _content_fields(content: Content) -> dict[str, object]:
    return {
        "text": content.text,
        "key": content.key,
        "kind": int(content.kind),
        "user_id": content.user_id,
        "agent_id": content.agent_id,
        "session_id": content.session_id,
        "metadata": dict(content.metadata),
        "valid_from": content.valid_from,
        "valid_until": content.valid_until,
        "source": content.source,
        "ttl": content.ttl,
    }
