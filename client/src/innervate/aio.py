"""The asyncio client of a memory store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio
from innervate_api.memory.v1 import memory_pb2_grpc

from innervate import calls, errors, tracing
from innervate.clients import Client
from innervate.retry import Attempts
from innervate.rpc import channel_arguments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence
    from datetime import datetime
    from types import TracebackType

    from innervate.calls import Call
    from innervate.records import Filter, Found, NewRecord, PutResult, Record, SearchHit, Stats
    from innervate.retry import Retry
    from innervate.route import Address, Route

ResultT = TypeVar("ResultT")


class AsyncMemoryClient(Client):
    """A memory store, for asyncio; in everything else as `innervate.MemoryClient`.

    Parameters
    ----------
    route
        The way to the store; `connect` and `from_kubernetes` make the usual ones.
    retry
        How patient to be.
    """

    def __init__(self, route: Route, *, retry: Retry | None = None) -> None:
        super().__init__(route, retry=retry)
        self._channel: grpc.aio.Channel | None = None
        self._stub: Any = None

    async def put(self, record: NewRecord | str, *, space: str = "") -> PutResult:
        """Store a record; returns once it is as durable as the store declares."""
        return (await self._send(calls.put([calls.as_record(record)], space)))[0]

    async def put_all(self, records: Iterable[NewRecord | str], *, space: str = "") -> tuple[PutResult, ...]:
        """Store many records, in order; each 256 of them are stored all or none."""
        results: tuple[PutResult, ...] = ()
        for batch in calls.batches(records):
            results += await self._send(calls.put(batch, space))
        return results

    async def search(
        self,
        query: str,
        *,
        space: str = "",
        limit: int = 10,
        matching: Filter | None = None,
        as_of: datetime | None = None,
    ) -> tuple[SearchHit, ...]:
        """Recall the records that best match, best first; parameters as `MemoryClient.search`."""
        return await self._send(calls.search(query, space, limit=limit, matching=matching, as_of=as_of))

    async def get(self, ids: Sequence[str], *, space: str = "") -> Found:
        """Read up to 256 records by id."""
        return await self._send(calls.get(ids, space))

    async def list(
        self,
        *,
        space: str = "",
        matching: Filter | None = None,
        include_superseded: bool = False,
        page_size: int = 100,
    ) -> AsyncIterator[Record]:
        """Yield records in the order they were put; pages are read as they are needed."""
        token = ""
        while True:
            page = await self._send(
                calls.page(
                    space,
                    matching=matching,
                    size=page_size,
                    token=token,
                    include_superseded=include_superseded,
                )
            )
            for record in page.records:
                yield record
            token = page.token
            if not token:
                return

    async def supersede(self, id_: str, record: NewRecord | str, *, space: str = "") -> PutResult:
        """Replace a record by a newer one; the old one stays readable by id and leaves recall."""
        return await self._send(calls.supersede(id_, calls.as_record(record), space))

    async def forget(
        self,
        ids: Sequence[str] = (),
        *,
        matching: Filter | None = None,
        everything: bool = False,
        space: str = "",
    ) -> int:
        """Erase records for good: by id, by filter, or the whole space; returns how many."""
        return await self._send(calls.forget(ids, matching, space, everything=everything))

    async def stats(self, *, space: str = "") -> Stats:
        """Count what a space holds; an empty space is the whole store, for those who may."""
        return await self._send(calls.stats(space))

    async def close(self) -> None:
        """End connection and port-forward."""
        if self._channel is not None:
            await self._channel.close()
        self._channel = self._address = self._stub = None
        await asyncio.to_thread(self._route.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(self, call: Call[ResultT]) -> ResultT:
        attempts = Attempts(self._retry, f"{call.method} on {self._route.store}")
        with tracing.client_span(call, self._route.store) as span:
            while True:
                number = attempts.number
                try:
                    return await self._attempt(call, attempts)
                except errors.InnervateError as error:
                    delay = attempts.after(error)
                    tracing.note_retry(span, number, error)
                    await asyncio.sleep(delay)

    async def _attempt(self, call: Call[ResultT], attempts: Attempts) -> ResultT:
        if self._route.warm():
            address, token = self._route.address(), self._route.token()
        else:
            address = await asyncio.to_thread(self._route.address)
            token = await asyncio.to_thread(self._route.token)
        metadata = tracing.metadata(token)
        stub = self._connected(address)
        try:
            reply = await getattr(stub, call.method)(
                call.request, timeout=attempts.timeout(), metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            failure, doubtful = errors.from_rpc(error)
        else:
            return call.read(reply)
        if doubtful:
            await asyncio.to_thread(self._route.lost, address)
        if isinstance(failure, errors.Unauthenticated) and attempts.renew_token():
            self._route.renew_token()
            failure.retry_after = 0.0
        raise failure

    def _connected(self, address: Address) -> Any:
        if self._stub is None or address != self._address:
            # Calls in flight still end on the old channel; it goes with the last of them.
            self._channel = grpc.aio.secure_channel(*channel_arguments(address))
            self._stub = memory_pb2_grpc.MemoryServiceStub(self._channel)
            self._address = address
        return self._stub
