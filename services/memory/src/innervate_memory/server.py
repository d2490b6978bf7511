"""gRPC on one side, the domain on the other: read the message, check the caller, delegate, answer."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc
from innervate_service.auth import current_identity
from innervate_service.authorization import Access, Permission
from innervate_service.config import DeadlineConfig
from innervate_service.errors import InvalidArgument
from opentelemetry import trace

from innervate_memory import messages
from innervate_memory.config import Durability
from innervate_memory.limits import MAX_BATCH
from innervate_memory.memory import Memory
from innervate_memory.store import Stored, Totals
from innervate_memory.upkeep import Upkeep

M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "innervate_api.memory.v1.MemoryService"
_MARGIN_SECONDS: Final = 0.3
_MARGIN_SHARE: Final = 0.1
"""How long before a call's end it stops trying: the clear answer must still reach the caller."""


class MemoryServicer(memory_pb2_grpc.MemoryServiceServicer):
    """Serves the interface.

    Parameters
    ----------
    memory
        Does the work.
    upkeep
        Counts the whole store.
    access
        Who may do what.
    store
        The store's name, ``namespace/name``, for spans.
    durability
        What the store declares.
    deadline
        Time limits of calls.
    max_message_bytes
        Largest answer.
    """

    def __init__(
        self,
        memory: Memory,
        upkeep: Upkeep,
        *,
        access: Access,
        store: str,
        durability: Durability,
        deadline: DeadlineConfig,
        max_message_bytes: int,
    ) -> None:
        self._memory = memory
        self._upkeep = upkeep
        self._access = access
        self._store = store
        self._durability = durability
        self._deadline = deadline
        self._max_message_bytes = max_message_bytes

    async def Put(self, request: memory_pb2.PutRequest, context: Context) -> memory_pb2.PutResponse:  # noqa: N802  the interface's name
        """Store records, all or none."""
        space = self._enter(request.space, Permission.WRITE, "upsert_memory")
        if len(request.records) > MAX_BATCH:
            raise InvalidArgument("records", f"{len(request.records)} records", f"must be 1 to {MAX_BATCH}")
        contents = [
            messages.content_of(record, path=f"records[{index}]")
            for index, record in enumerate(request.records)
        ]
        stored = await self._memory.put(space, contents, deadline=self._until(context))
        _describe({"innervate.memory.records": len(stored)})
        return memory_pb2.PutResponse(results=[_put_result(result) for result in stored])

    async def Search(self, request: memory_pb2.SearchRequest, context: Context) -> memory_pb2.SearchResponse:  # noqa: N802  the interface's name
        """Recall the records that best match a query."""
        space = self._enter(request.space, Permission.READ, "search_memory")
        hits = await self._memory.search(
            space,
            request.query,
            chosen=messages.filter_of(request.filter, path="filter"),
            as_of=messages.as_of(request),
            limit=request.limit,
            deadline=self._until(context),
        )
        _describe({"innervate.memory.records": len(hits)})
        found = [messages.hit_message(hit, space=space) for hit in hits]
        response = memory_pb2.SearchResponse(hits=found)
        return self._fitting(response, "limit", request.limit)

    async def Get(self, request: memory_pb2.GetRequest, context: Context) -> memory_pb2.GetResponse:  # noqa: N802  the interface's name
        """Read records by id."""
        space = self._enter(request.space, Permission.READ, "search_memory")
        records = await self._memory.get(space, request.ids, deadline=self._until(context))
        pairs = list(zip(request.ids, records, strict=True))
        response = memory_pb2.GetResponse(
            records=[
                messages.record_message(record, space=space) for _, record in pairs if record is not None
            ],
            missing=[record_id for record_id, record in pairs if record is None],
        )
        return self._fitting(response, "ids", f"{len(request.ids)} ids")

    async def List(self, request: memory_pb2.ListRequest, context: Context) -> memory_pb2.ListResponse:  # noqa: N802  the interface's name
        """List records, a page at a time."""
        space = self._enter(request.space, Permission.READ, "search_memory")
        page = await self._memory.page(
            space,
            chosen=messages.filter_of(request.filter, path="filter"),
            size=request.page_size,
            token=request.page_token,
            superseded=request.include_superseded,
            deadline=self._until(context),
        )
        return memory_pb2.ListResponse(
            records=[messages.record_message(record, space=space) for record in page.records],
            next_page_token=page.next_token,
        )

    async def Supersede(  # noqa: N802  the interface's name
        self, request: memory_pb2.SupersedeRequest, context: Context
    ) -> memory_pb2.SupersedeResponse:
        """Replace a record by a newer one."""
        space = self._enter(request.space, Permission.WRITE, "upsert_memory")
        content = messages.content_of(request.record, path="record")
        stored = await self._memory.supersede(space, request.id, content, deadline=self._until(context))
        return memory_pb2.SupersedeResponse(id=stored.id, created=stored.created)

    async def Forget(self, request: memory_pb2.ForgetRequest, context: Context) -> memory_pb2.ForgetResponse:  # noqa: N802  the interface's name
        """Erase records for good."""
        space = self._enter(request.space, Permission.WRITE, "delete_memory")
        deadline = self._until(context)
        match request.WhichOneof("what"):
            case "ids":
                forgotten = await self._memory.forget(space, request.ids.ids, deadline=deadline)
            case "matching":
                chosen = messages.filter_of(request.matching, path="matching")
                forgotten = await self._memory.forget_matching(space, chosen, deadline=deadline)
            case "everything" if request.everything:
                forgotten = await self._memory.forget_everything(space, deadline=deadline)
            case _:
                raise InvalidArgument("what", "nothing", "must be ids, a filter, or everything = true")
        _describe({"innervate.memory.records": forgotten})
        return memory_pb2.ForgetResponse(forgotten=forgotten)

    async def Stats(self, request: memory_pb2.StatsRequest, context: Context) -> memory_pb2.StatsResponse:  # noqa: N802  the interface's name
        """Count a space, or the whole store."""
        limit = 0
        if request.space:
            space = self._access.require(current_identity(), request.space, Permission.READ)
            totals = await self._memory.totals(space, deadline=self._until(context))
        else:
            self._access.require_statistics(current_identity())
            totals, limit = await self._upkeep.totals(deadline=self._until(context))
        return _stats(totals, limit=limit, durability=self._durability)

    def _enter(self, requested: str, permission: Permission, operation: str) -> str:
        """Check the caller, say in the span what the call does, and resolve the space."""
        space = self._access.require(current_identity(), requested, permission)
        _describe(
            {
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": "innervate",
                "gen_ai.memory.store.id": self._store,
                "innervate.memory.space": space,
            }
        )
        return space

    def _until(self, context: Context) -> float:
        """Tell when to stop trying, in the event loop's time."""
        asked = context.time_remaining()
        # None is "no deadline" for gRPC, which its types do not say.
        seconds = min(self._deadline.default_seconds if asked is None else asked, self._deadline.max_seconds)
        margin = min(_MARGIN_SECONDS, seconds * _MARGIN_SHARE)
        return asyncio.get_running_loop().time() + seconds - margin

    def _fitting(self, response: M, field: str, value: object) -> M:
        if response.ByteSize() > self._max_message_bytes:
            raise InvalidArgument(
                field,
                value,
                f"must be less: the answer would be {response.ByteSize()} bytes, "
                f"a message may have {self._max_message_bytes}",
            )
        return response


def _describe(attributes: Mapping[str, str | int]) -> None:
    trace.get_current_span().set_attributes(attributes)


def _put_result(stored: Stored) -> memory_pb2.PutResult:
    return memory_pb2.PutResult(id=stored.id, created=stored.created)


def _stats(totals: Totals, *, limit: int, durability: Durability) -> memory_pb2.StatsResponse:
    return memory_pb2.StatsResponse(
        records=totals.records,
        spaces=totals.spaces,
        size_bytes=totals.size_bytes,
        limit_bytes=limit,
        durability=durability.value,
    )
