"""Recall over spaces: each replica keeps indexes in memory and brings them up to the log before it answers.

A put that was acknowledged by any replica is in the log, so reading the log first gives every reader
everything that was acknowledged before its call, with no help from clients.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from innervate_service.errors import Unavailable

from innervate_memory.index import SpaceIndex
from innervate_memory.records import Filter, decode
from innervate_memory.retrieval import Ranked, rank
from innervate_memory.store import Changes, Place, RecordStore

T = TypeVar("T")

_BUILD_SECONDS: Final = 30.0
"""How long one Redis command may take while an index is built; building outlives the call that began it."""
_BUILD_TRIES: Final = 3
_GRACE_SECONDS: Final = 0.05
"""What waits for Redis ends at the deadline with a message of its own, which is the better one."""


class _Space:
    """The index of one space and how far it has read the log; None when it must be built."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.index = SpaceIndex()
        self.place: Place | None = None


class Recall:
    """Searches spaces, keeping the indexes of the recently searched ones.

    Parameters
    ----------
    store
        The durable truth.
    max_spaces, max_records
        Bounds of what is kept; the least recently searched spaces are dropped.
    threads
        Threads for building and searching, so that the event loop stays free.
    """

    def __init__(self, store: RecordStore, *, max_spaces: int, max_records: int, threads: int) -> None:
        self._store = store
        self._max_spaces = max_spaces
        self._max_records = max_records
        self._spaces: OrderedDict[str, _Space] = OrderedDict()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="recall")
        self._builds = asyncio.Semaphore(threads)
        self._running: set[asyncio.Task[Any]] = set()

    async def search(
        self,
        space: str,
        query: str,
        *,
        chosen: Filter,
        as_of: int,
        now: int,
        limit: int,
        deadline: float,
    ) -> list[Ranked]:
        """Rank the records of a space against a query; see `retrieval.rank`.

        Raises
        ------
        Unavailable
            Redis does not answer, or reading a large space for the first time takes longer than the
            deadline; reading goes on, so that trying again helps.
        """

        def ranked(index: SpaceIndex) -> list[Ranked]:
            index.expire(now)
            return rank(index, query, chosen=chosen, as_of=as_of, limit=limit)

        # A thread can't be interrupted and holds the space's lock, so the work must outlive a cancelled call.
        task = asyncio.create_task(self._with_current_index(space, ranked, deadline=deadline))
        self._running.add(task)
        task.add_done_callback(self._finished)
        try:
            async with asyncio.timeout_at(deadline + _GRACE_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError as error:
            raise Unavailable(
                "the space could not be read for searching within this call's deadline: it is large and new "
                "to this replica, or Redis is slow or away; reading goes on, try again"
            ) from error

    async def close(self) -> None:
        """Wait for running work and end the threads."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # the caller may be gone; then nobody else would look at it

    async def _with_current_index(self, space: str, work: Callable[[SpaceIndex], T], *, deadline: float) -> T:
        held = self._spaces.setdefault(space, _Space())
        self._spaces.move_to_end(space)
        async with held.lock:
            try:
                await self._bring_up_to_date(space, held, deadline=deadline)
                result = await self._in_thread(work, held.index)
            except BaseException:
                held.place = None  # what was applied is not known any more
                raise
        self._drop_excess()
        return result

    async def _bring_up_to_date(self, space: str, held: _Space, *, deadline: float) -> None:
        if held.index.wasteful:
            held.place = None
        for _ in range(_BUILD_TRIES):
            if held.place is None:
                async with self._builds:
                    await self._build(space, held)
            if held.place is None or await self._follow(space, held, deadline=deadline):
                return
            held.place = None
        raise Unavailable("the space changes faster than it can be read for searching; try again")

    async def _follow(self, space: str, held: _Space, *, deadline: float) -> bool:
        """Apply what the log has; tell whether that was possible."""
        more = True
        while more:
            if held.place is None:
                return False
            changes = await self._store.changes(space, held.place, deadline=deadline)
            if changes is None:
                return False
            if changes.records:
                await self._in_thread(_apply, held.index, changes)
            held.place = changes.place
            more = changes.more
        return True

    async def _build(self, space: str, held: _Space) -> None:
        """Read all records. The place is taken first: what changes meanwhile is applied again after it."""
        index = SpaceIndex()
        soon = asyncio.get_running_loop().time() + _BUILD_SECONDS
        place = await self._store.end_of_log(space, deadline=soon)
        if place is not None:
            async for batch in self._store.scan(space, seconds_each=_BUILD_SECONDS):
                await self._in_thread(_add, index, batch)
        held.index, held.place = index, place

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])  # the lock must not be free while the thread still works
            raise

    def _drop_excess(self) -> None:
        records = sum(len(held.index) for held in self._spaces.values())
        for space in list(self._spaces)[:-1]:
            if len(self._spaces) <= self._max_spaces and records <= self._max_records:
                return
            if not self._spaces[space].lock.locked():
                records -= len(self._spaces.pop(space).index)


def _add(index: SpaceIndex, batch: Sequence[bytes]) -> None:
    for encoded in batch:
        index.put(decode(encoded))


def _apply(index: SpaceIndex, changes: Changes) -> None:
    for record_id, record in changes.records:
        if record is None:
            index.remove(record_id)
        else:
            index.put(record)
