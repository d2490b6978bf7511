"""Every call of the memory service as a value: request, how to read the reply, what its span says.

The blocking and the asyncio client differ only in how they send these.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from innervate_api.memory.v1 import memory_pb2 as pb

from innervate.errors import InvalidArgument
from innervate.records import (
    Filter,
    Found,
    NewRecord,
    PutResult,
    Record,
    RecordKind,
    SearchHit,
    Stats,
)
from innervate.tracing import MEMORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

ResultT_co = TypeVar("ResultT_co", covariant=True)

BATCH = 256
"""Most records, or ids, in one call."""
_BATCH_BYTES = 3 * 1024 * 1024
_OVERHEAD_BYTES = 2048
_KINDS = {
    RecordKind.UNSPECIFIED: pb.RECORD_KIND_UNSPECIFIED,
    RecordKind.TURN: pb.RECORD_KIND_TURN,
    RecordKind.FACT: pb.RECORD_KIND_FACT,
    RecordKind.PROCEDURE: pb.RECORD_KIND_PROCEDURE,
    RecordKind.EVENT: pb.RECORD_KIND_EVENT,
}
_KIND_NAMES = {number: kind for kind, number in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Call(Generic[ResultT_co]):
    """One call.

    Parameters
    ----------
    method
        Name of the method in the service's proto.
    request
        The message to send.
    read
        Turns the reply into the caller's values.
    operation
        `gen_ai.operation.name` of the conventions; empty where they have none.
    attributes
        Further span attributes. Never a record's text.
    service
        Full name of the service.
    """

    method: str
    request: Any
    read: Callable[[Any], ResultT_co]
    operation: str = ""
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    service: str = MEMORY


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; `token` is empty on the last one."""

    records: tuple[Record, ...]
    token: str


def put(records: Sequence[NewRecord], space: str) -> Call[tuple[PutResult, ...]]:
    """Store records, all or none; each gets a key, so that a retry stores nothing twice."""
    request = pb.PutRequest(
        space=space, records=[_new_record(record, f"records[{n}]") for n, record in enumerate(records)]
    )
    sessions = {record.session_id for record in records}
    attributes: dict[str, str | int] = {"gen_ai.memory.record.count": len(records)}
    if len(sessions) == 1 and (session := sessions.pop()):
        attributes["gen_ai.conversation.id"] = session
    return Call("Put", request, lambda reply: _put_results(reply.results), "upsert_memory", attributes)


def search(
    query: str, space: str, *, limit: int, matching: Filter | None, as_of: datetime | None
) -> Call[tuple[SearchHit, ...]]:
    """Recall the records that best match a query."""
    request = pb.SearchRequest(
        space=space, query=query, limit=limit, filter=_filter(matching), as_of=_timestamp(as_of, "as_of")
    )
    attributes = {"gen_ai.conversation.id": matching.session_id} if matching and matching.session_id else {}
    return Call(
        "Search", request, lambda reply: tuple(_hit(hit) for hit in reply.hits), "search_memory", attributes
    )


def get(ids: Sequence[str], space: str) -> Call[Found]:
    """Read records by id."""
    return Call(
        "Get",
        pb.GetRequest(space=space, ids=ids),
        lambda reply: Found(
            records=tuple(_record(record) for record in reply.records), missing=tuple(reply.missing)
        ),
    )


def page(
    space: str, *, matching: Filter | None, size: int, token: str, include_superseded: bool
) -> Call[Page]:
    """Read one page of a listing."""
    request = pb.ListRequest(
        space=space,
        filter=_filter(matching),
        page_size=size,
        page_token=token,
        include_superseded=include_superseded,
    )
    return Call(
        "List",
        request,
        lambda reply: Page(tuple(_record(record) for record in reply.records), reply.next_page_token),
    )


def supersede(id_: str, record: NewRecord, space: str) -> Call[PutResult]:
    """Replace a record by a newer one."""
    request = pb.SupersedeRequest(space=space, id=id_, record=_new_record(record, "record"))
    return Call(
        "Supersede",
        request,
        lambda reply: PutResult(id=reply.id, created=reply.created),
        "upsert_memory",
        {"gen_ai.memory.record.id": id_},
    )


def forget(ids: Sequence[str], matching: Filter | None, space: str, *, everything: bool) -> Call[int]:
    """Erase records for good.

    Raises
    ------
    InvalidArgument
        Unless exactly one of the three ways to say what is used.
    """
    ways = [bool(ids), matching is not None, everything]
    if sum(ways) != 1:
        raise InvalidArgument(
            "forget needs exactly one of ids, matching or everything",
            field="what",
            fix="name the records' ids, or a filter, or everything=True",
        )
    if matching is not None and matching.empty:
        raise InvalidArgument(
            "matching is empty, which would erase the whole space",
            field="matching",
            fix="give it a condition, or say everything=True",
        )
    if ids:
        request = pb.ForgetRequest(space=space, ids=pb.Ids(ids=ids))
    elif matching is not None:
        request = pb.ForgetRequest(space=space, matching=_filter(matching))
    else:
        request = pb.ForgetRequest(space=space, everything=True)
    attributes = {"gen_ai.memory.record.id": ids[0]} if len(ids) == 1 else {}
    return Call("Forget", request, lambda reply: int(reply.forgotten), "delete_memory", attributes)


def stats(space: str) -> Call[Stats]:
    """Count what a space, or with an empty one the whole store, holds."""
    return Call(
        "Stats",
        pb.StatsRequest(space=space),
        lambda reply: Stats(
            records=reply.records,
            spaces=reply.spaces,
            size_bytes=reply.size_bytes,
            limit_bytes=reply.limit_bytes,
            durability=reply.durability,
        ),
    )


def as_record(record: NewRecord | str) -> NewRecord:
    """Record for what a caller gave: a text alone is a record too."""
    return NewRecord(text=record) if isinstance(record, str) else record


def batches(records: Iterable[NewRecord | str]) -> Iterator[list[NewRecord]]:
    """Records in lists that one call takes: by count, and by size with room for what surrounds texts."""
    batch: list[NewRecord] = []
    size = 0
    for record in map(as_record, records):
        weight = len(record.text.encode()) + _OVERHEAD_BYTES
        if batch and (len(batch) == BATCH or size + weight > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += weight
    if batch:
        yield batch


def _new_record(record: NewRecord, path: str) -> pb.NewRecord:
    ttl = None
    if record.ttl is not None:
        ttl = Duration()
        ttl.FromTimedelta(record.ttl)
    return pb.NewRecord(
        key=record.key or uuid.uuid4().hex,
        text=record.text,
        kind=_KINDS[record.kind],
        user_id=record.user_id,
        agent_id=record.agent_id,
        session_id=record.session_id,
        metadata=record.metadata,
        valid_from=_timestamp(record.valid_from, f"{path}.valid_from"),
        valid_until=_timestamp(record.valid_until, f"{path}.valid_until"),
        source=record.source,
        ttl=ttl,
    )


def _timestamp(time: datetime | None, path: str) -> Timestamp | None:
    if time is None:
        return None
    if time.tzinfo is None:
        raise InvalidArgument(
            f"{path} = {time.isoformat()} has no time zone",
            field=path,
            fix="give it one, such as datetime.now(UTC)",
        )
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _filter(matching: Filter | None) -> pb.Filter | None:
    if matching is None:
        return None
    return pb.Filter(
        kinds=[_KINDS[kind] for kind in matching.kinds],
        user_id=matching.user_id,
        agent_id=matching.agent_id,
        session_id=matching.session_id,
        metadata=matching.metadata,
    )


def _time(message: Any, name: str) -> datetime | None:
    return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None


def _record(message: pb.Record) -> Record:
    return Record(
        id=message.id,
        space=message.space,
        key=message.key,
        text=message.text,
        # A newer service may know kinds that this client does not.
        kind=_KIND_NAMES.get(message.kind, RecordKind.UNSPECIFIED),
        user_id=message.user_id,
        agent_id=message.agent_id,
        session_id=message.session_id,
        metadata=dict(message.metadata),
        valid_from=_time(message, "valid_from"),
        valid_until=_time(message, "valid_until"),
        source=message.source,
        create_time=_time(message, "create_time"),
        expire_time=_time(message, "expire_time"),
        supersedes=message.supersedes,
        superseded_by=message.superseded_by,
    )


def _hit(message: pb.SearchHit) -> SearchHit:
    return SearchHit(
        record=_record(message.record),
        score=message.score,
        turn_score=message.turn_score,
        session_score=message.session_score,
    )


def _put_results(results: Iterable[pb.PutResult]) -> tuple[PutResult, ...]:
    return tuple(PutResult(id=result.id, created=result.created) for result in results)
