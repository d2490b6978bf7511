"""What the server and a process of instances say to each other over a socket pair.

Every frame begins with its length. Requests are answered in order, `CLOSE` is not answered. Numbers are raw
and little-endian; what is rare is JSON. Nothing is unpickled: a process that an environment took over must
not reach the server that way.

    request   length u32, kind u8, JSON length u32, JSON, numbers
    answer    length u32, JSON length u32, JSON, numbers

The numbers of a `STEP` are the actions; those of its answer are rewards (f64), terminated (u8) and truncated
(u8) of each place, the observations, then the last observations of the episodes under `finals`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LENGTH: Final = struct.Struct("<I")
_REQUEST: Final = struct.Struct("<BI")
_JSON: Final = struct.Struct("<I")
_MAX_REMEMBERED: Final = 16_384
PROGRESS: Final = struct.Struct("<QII")
"""In shared memory: operations begun, place and `Phase` of the running one. Tells slow from stuck."""


class Kind(IntEnum):
    """What is asked of a process."""

    DESCRIBE = 1
    RESET = 2
    STEP = 3
    CLOSE = 4


class Phase(IntEnum):
    """What a process is at."""

    IDLE = 0
    BEGIN = 1
    STEP = 2


class Request(NamedTuple):
    """What is asked of a process."""

    kind: Kind
    document: Mapping[str, Any]
    numbers: bytes | memoryview


@dataclass(slots=True)
class Answer:
    """What a process answered about places, by their position in the request."""

    errors: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Reason and message."""
    finals: Sequence[int] = ()
    """Positions whose episode ended and was followed by another."""
    final_texts: Sequence[str] = ()
    infos: dict[int, str] = field(default_factory=dict)
    """JSON objects."""
    texts: Sequence[str] = ()
    """Observations that are texts."""
    description: Mapping[str, Any] | None = None
    numbers: bytes | memoryview = b""


def pack_head(kind: Kind, document: Mapping[str, Any]) -> bytes:
    """Write a request up to its numbers, without its length."""
    text = json.dumps(document, separators=(",", ":")).encode()
    return _REQUEST.pack(kind, len(text)) + text


def pack_request(head: bytes, numbers: bytes = b"") -> bytes:
    """Write a request, its length included."""
    return b"".join((LENGTH.pack(len(head) + len(numbers)), head, numbers))


def unpack_request(frame: memoryview) -> Request:
    """Read a request without its length."""
    kind, size = _REQUEST.unpack_from(frame)
    begin = _REQUEST.size
    text = bytes(frame[begin : begin + size])
    # Most steps name the same places as the one before.
    document = _parsed(text) if kind == Kind.STEP and size < _MAX_REMEMBERED else json.loads(text)
    return Request(Kind(kind), document, frame[begin + size :])


@lru_cache(maxsize=16)
def _parsed(text: bytes) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(text)
    return document


def pack_answer(answer: Answer) -> bytes:
    """Write an answer, its length included."""
    rare: dict[str, Any] = {}
    if answer.errors:
        rare["errors"] = [(at, *error) for at, error in answer.errors.items()]
    if answer.finals:
        rare["finals"] = answer.finals
    if answer.final_texts:
        rare["finalTexts"] = answer.final_texts
    if answer.infos:
        rare["infos"] = list(answer.infos.items())
    if answer.texts:
        rare["texts"] = answer.texts
    if answer.description is not None:
        rare["description"] = answer.description
    text = json.dumps(rare, separators=(",", ":")).encode() if rare else b""
    size = _JSON.size + len(text) + len(answer.numbers)
    return b"".join((LENGTH.pack(size), _JSON.pack(len(text)), text, answer.numbers))


def unpack_answer(frame: bytes) -> Answer:
    """Read an answer without its length.

    Raises
    ------
    ValueError
        It is no answer.
    """
    try:
        (size,) = _JSON.unpack_from(frame)
        end = _JSON.size + size
        numbers = memoryview(frame)[end:]
        if not size:
            return Answer(numbers=numbers)
        rare = json.loads(frame[_JSON.size : end])
        return Answer(
            errors={int(at): (int(reason), str(message)) for at, reason, message in rare.get("errors", ())},
            finals=[int(at) for at in rare.get("finals", ())],
            final_texts=[str(text) for text in rare.get("finalTexts", ())],
            infos={int(at): str(info) for at, info in rare.get("infos", ())},
            texts=[str(text) for text in rare.get("texts", ())],
            description=rare.get("description"),
            numbers=numbers,
        )
    except (struct.error, TypeError, AttributeError) as error:
        raise ValueError(f"an answer cannot be read: {error}") from error
