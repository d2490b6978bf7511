"""Records as lines of JSON: what a file of them may say, and what it means."""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from innervate.errors import InvalidArgument
from innervate.records import NewRecord, RecordKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TEXTS = {
    "text": "text",
    "key": "key",
    "userId": "user_id",
    "agentId": "agent_id",
    "sessionId": "session_id",
    "source": "source",
}
_TIMES = {"validFrom": "valid_from", "validUntil": "valid_until"}
_FIELDS = (*_TEXTS, *_TIMES, "kind", "metadata", "ttlSeconds")
_SET_BY_SERVICE = frozenset({"id", "space", "createTime", "expireTime", "supersedes", "supersededBy"})


def read(lines: Iterable[str], source: str, defaults: NewRecord) -> Iterator[NewRecord]:
    """Yield the record of each line; empty lines are passed over.

    A line without a key gets one made of its number and content, so that putting the same file
    again stores nothing twice.

    Parameters
    ----------
    lines
        Lines of JSON objects, with the fields that ``--output json`` prints.
    source
        The file's name, for messages.
    defaults
        Stands in for fields that a line leaves out; its text does not.

    Raises
    ------
    InvalidArgument
        If a line is wrong; names line, field and fix.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{source}:{number}"
        try:
            data = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidArgument(
                f"{place}: this is no JSON: {error.msg}", fix='write one object per line, as {"text": "…"}'
            ) from None
        digest = hashlib.sha256(f"{number}:{line.strip()}".encode()).hexdigest()[:32]
        yield _record(data, place, defaults, digest)


def _record(data: object, place: str, defaults: NewRecord, key: str) -> NewRecord:
    if not isinstance(data, dict) or not data.get("text"):
        raise InvalidArgument(f"{place}: text is required", field="text", fix='write {"text": "…"}')
    for name in data:
        if name not in _FIELDS and name not in _SET_BY_SERVICE:
            close = difflib.get_close_matches(name, _FIELDS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_FIELDS)}"
            raise InvalidArgument(f"{place}: {name}: unknown field", field=name, fix=hint)
    fields: dict[str, Any] = {
        field: _text(data[name], f"{place}: {name}") for name, field in _TEXTS.items() if name in data
    }
    fields.setdefault("key", key)
    fields |= {field: _time(data[name], f"{place}: {name}") for name, field in _TIMES.items() if name in data}
    if "kind" in data:
        fields["kind"] = _kind(data["kind"], f"{place}: kind")
    if "metadata" in data:
        fields["metadata"] = _metadata(data["metadata"], f"{place}: metadata")
    if "ttlSeconds" in data:
        fields["ttl"] = _seconds(data["ttlSeconds"], f"{place}: ttlSeconds")
    return replace(defaults, **fields)


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"{place} = {value!r}: must be text", fix="put it in quotes")
    return value


def _time(value: object, place: str) -> datetime:
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise InvalidArgument(
            f"{place} = {value!r}: must be a time with a zone", fix="write it as 2026-01-31T08:30:00Z"
        )
    return time


def _kind(value: object, place: str) -> RecordKind:
    try:
        return RecordKind(str(value).lower())
    except ValueError:
        kinds = ", ".join(kind.value for kind in RecordKind)
        raise InvalidArgument(f"{place} = {value!r}: unknown kind", fix=f"there are {kinds}") from None


def _metadata(value: object, place: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise InvalidArgument(
            f"{place} = {value!r}: must be a mapping of text to text", fix="put values in quotes"
        )
    return {str(key): each for key, each in value.items()}


def _seconds(value: object, place: str) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise InvalidArgument(f"{place} = {value!r}: must be a number of seconds, or 0 for ever")
    return timedelta(seconds=value)
