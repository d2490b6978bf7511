"""The blocking client of a memory store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_api.memory.v1 import memory_pb2_grpc

from innervate import calls
from innervate.rpc import RpcClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from innervate.records import Filter, Found, NewRecord, PutResult, Record, SearchHit, Stats


class MemoryClient(RpcClient):
    """A memory store, for programs that block. Safe to share between threads.

    Calls are repeated until they succeed, fail for good, or run out of time; every record has a key,
    so a repeated call stores nothing twice. An empty `space` is the caller's own.

    Parameters
    ----------
    route
        The way to the store; `connect` and `from_kubernetes` make the usual ones.
    retry
        How patient to be.

    Examples
    --------
    >>> with MemoryClient.from_kubernetes("support", namespace="shop") as memory:  # doctest: +SKIP
    ...     memory.put("Mira waters the orchids with rain only.", session_id="monday")
    ...     for hit in memory.search("Which water do the orchids need?"):
    ...         print(hit.score, hit.record.text)
    """

    stub = memory_pb2_grpc.MemoryServiceStub

    def put(self, record: NewRecord | str, *, space: str = "") -> PutResult:
        """Store a record; returns once it is as durable as the store declares."""
        return self._send(calls.put([calls.as_record(record)], space))[0]

    def put_all(self, records: Iterable[NewRecord | str], *, space: str = "") -> tuple[PutResult, ...]:
        """Store many records, in order; each 256 of them are stored all or none."""
        results: tuple[PutResult, ...] = ()
        for batch in calls.batches(records):
            results += self._send(calls.put(batch, space))
        return results

    def search(
        self,
        query: str,
        *,
        space: str = "",
        limit: int = 10,
        matching: Filter | None = None,
        as_of: datetime | None = None,
    ) -> tuple[SearchHit, ...]:
        """Recall the records that best match, best first.

        Parameters
        ----------
        query
            What to look for, in plain words; at most 8 KiB.
        space
            Where to look; empty for the caller's own space.
        limit
            Most hits to return, up to 100.
        matching
            Only records that match.
        as_of
            Only records valid at this time; None for now.
        """
        return self._send(calls.search(query, space, limit=limit, matching=matching, as_of=as_of))

    def get(self, ids: Sequence[str], *, space: str = "") -> Found:
        """Read up to 256 records by id."""
        return self._send(calls.get(ids, space))

    def list(
        self,
        *,
        space: str = "",
        matching: Filter | None = None,
        include_superseded: bool = False,
        page_size: int = 100,
    ) -> Iterator[Record]:
        """Yield records in the order they were put; pages are read as they are needed."""
        token = ""
        while True:
            page = self._send(
                calls.page(
                    space,
                    matching=matching,
                    size=page_size,
                    token=token,
                    include_superseded=include_superseded,
                )
            )
            yield from page.records
            token = page.token
            if not token:
                return

    def supersede(self, id_: str, record: NewRecord | str, *, space: str = "") -> PutResult:
        """Replace a record by a newer one; the old one stays readable by id and leaves recall."""
        return self._send(calls.supersede(id_, calls.as_record(record), space))

    def forget(
        self,
        ids: Sequence[str] = (),
        *,
        matching: Filter | None = None,
        everything: bool = False,
        space: str = "",
    ) -> int:
        """Erase records for good: by id, by filter, or the whole space.

        Returns
        -------
        int
            How many were erased. After a lost connection the repeated call counts only its own.
        """
        return self._send(calls.forget(ids, matching, space, everything=everything))

    def stats(self, *, space: str = "") -> Stats:
        """Count what a space holds; an empty space is the whole store, for those who may."""
        return self._send(calls.stats(space))
