"""Between the messages of the interface and the domain's records."""

from google.protobuf.timestamp_pb2 import Timestamp
from innervate_api.memory.v1 import memory_pb2
from innervate_service.errors import InvalidArgument

from innervate_memory.memory import Hit
from innervate_memory.records import MICROSECONDS, Content, Filter, Kind, Record


def content_of(message: memory_pb2.NewRecord, *, path: str) -> Content:
    """Read what a caller says about a new record.

    Raises
    ------
    InvalidArgument
        A value has no meaning; limits are checked later.
    """
    return Content(
        text=message.text,
        key=message.key,
        kind=_kind(message.kind, path=f"{path}.kind"),
        user_id=message.user_id,
        agent_id=message.agent_id,
        session_id=message.session_id,
        metadata=dict(message.metadata),
        valid_from=_time(message, "valid_from", path=path),
        valid_until=_time(message, "valid_until", path=path),
        source=message.source,
        ttl=_span(message.ttl.seconds, message.ttl.nanos, path=f"{path}.ttl")
        if message.HasField("ttl")
        else None,
    )


def filter_of(message: memory_pb2.Filter, *, path: str) -> Filter:
    """Read a filter."""
    return Filter(
        kinds=frozenset(_kind(kind, path=f"{path}.kinds") for kind in message.kinds),
        user_id=message.user_id,
        agent_id=message.agent_id,
        session_id=message.session_id,
        metadata=dict(message.metadata),
    )


def as_of(message: memory_pb2.SearchRequest) -> int | None:
    """Read the time a search is about; None for now."""
    return _time(message, "as_of", path="")


def record_message(record: Record, *, space: str) -> memory_pb2.Record:
    """Write a record."""
    content = record.content
    return memory_pb2.Record(
        id=record.id,
        space=space,
        key=content.key,
        text=content.text,
        kind=memory_pb2.RecordKind.ValueType(content.kind),
        user_id=content.user_id,
        agent_id=content.agent_id,
        session_id=content.session_id,
        metadata=dict(content.metadata),
        valid_from=_timestamp(content.valid_from),
        valid_until=_timestamp(content.valid_until),
        source=content.source,
        create_time=_timestamp(record.create_time),
        expire_time=_timestamp(record.expire_time),
        superseded_by=record.superseded_by,
        supersedes=record.supersedes,
    )


def hit_message(hit: Hit, *, space: str) -> memory_pb2.SearchHit:
    """Write a record found."""
    return memory_pb2.SearchHit(
        record=record_message(hit.record, space=space),
        score=hit.ranked.score,
        turn_score=hit.ranked.turn_score,
        session_score=hit.ranked.session_score,
    )


def _kind(value: int, *, path: str) -> Kind:
    try:
        return Kind(value)
    except ValueError:
        raise InvalidArgument(path, value, f"must be one of {[int(kind) for kind in Kind]}") from None


def _time(message: memory_pb2.NewRecord | memory_pb2.SearchRequest, field: str, *, path: str) -> int | None:
    """Read a timestamp, kept to the microsecond."""
    if not message.HasField(field):  # type: ignore[arg-type]  # the stubs list literal field names only
        return None
    stamp: Timestamp = getattr(message, field)
    return _span(stamp.seconds, stamp.nanos, path=f"{path}.{field}".removeprefix("."))


def _span(seconds: int, nanos: int, *, path: str) -> int:
    # A duration's nanos have the sign of its seconds, a timestamp's are never negative.
    if not -1_000_000_000 < nanos < 1_000_000_000:
        raise InvalidArgument(path, nanos, "must have nanos within a second")
    return seconds * MICROSECONDS + nanos // 1000


def _timestamp(time: int | None) -> Timestamp | None:
    if time is None:
        return None
    seconds, rest = divmod(time, MICROSECONDS)
    return Timestamp(seconds=seconds, nanos=rest * 1000)
