"""What the memory service does, in the domain's own terms; `server` speaks gRPC on top of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from innervate_service.errors import InvalidArgument

from innervate_memory import limits
from innervate_memory.recall import Recall
from innervate_memory.records import Content, Filter, IdSource, Record, encode, id_time
from innervate_memory.retrieval import Ranked
from innervate_memory.store import RecordStore, Stored, Totals

_PAGE_CHUNK: Final = 128
_PAGE_BYTES: Final = 3 * 1024 * 1024
"""A page of a list ends early beyond it, so that the answer stays below gRPC's usual 4 MiB."""
_LONGEST_SCAN: Final = 10_000
"""Records looked at for one page: a rare match makes short pages, not long calls."""


class Hit(NamedTuple):
    """A record found, with its scores."""

    record: Record
    ranked: Ranked


class Page(NamedTuple):
    """A page of a list; the token is empty on the last one."""

    records: list[Record]
    next_token: str


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Which records were used since the last flush, by space; kept only where idle ones are forgotten."""

    wanted: bool
    spaces: dict[str, set[str]]

    def note(self, space: str, records: Sequence[Record]) -> None:
        """Note that records were returned to a caller."""
        if self.wanted and records:
            self.spaces.setdefault(space, set()).update(record.id for record in records)


class Memory:
    """Puts, recalls and forgets records. Spaces come checked and authorised.

    Parameters
    ----------
    store
        The durable truth.
    recall
        Searches it.
    clock
        The time now, in microseconds.
    default_ttl
        Time to live of records put without one, in microseconds; None for ever.
    track_use
        Whether to collect which records are used.
    """

    def __init__(
        self,
        store: RecordStore,
        recall: Recall,
        *,
        clock: Callable[[], int],
        default_ttl: int | None = None,
        track_use: bool = False,
    ) -> None:
        self._store = store
        self._recall = recall
        self._clock = clock
        self._default_ttl = default_ttl
        self._ids = IdSource(clock)
        self.usage = Usage(wanted=track_use, spaces={})

    async def put(self, space: str, contents: Sequence[Content], *, deadline: float) -> list[Stored]:
        """Store records, all or none; see `RecordStore.put`."""
        limits.check_batch(contents)
        records = [self._record(content) for content in contents]
        return await self._store.put(
            space, records, change=self._ids.next(), now=self._clock(), deadline=deadline
        )

    async def supersede(self, space: str, old_id: str, content: Content, *, deadline: float) -> Stored:
        """Replace a record by a newer one; see `RecordStore.supersede`."""
        limits.check_id(old_id, path="id")
        limits.check_content(content, path="record")
        record = self._record(content, supersedes=old_id)
        return await self._store.supersede(
            space, old_id, record, change=self._ids.next(), now=self._clock(), deadline=deadline
        )

    async def search(
        self, space: str, query: str, *, chosen: Filter, as_of: int | None, limit: int, deadline: float
    ) -> list[Hit]:
        """Recall the records that best match a query, best first."""
        limits.check_query(query)
        limits.check_filter(chosen, path="filter")
        if as_of is not None:
            limits.check_time("as_of", as_of)
        limit = limits.check_count("limit", limit, limit=limits.MAX_HITS, default=limits.DEFAULT_HITS)
        now = self._clock()
        ranking = await self._recall.search(
            space,
            query,
            chosen=chosen,
            as_of=now if as_of is None else as_of,
            now=now,
            limit=limit,
            deadline=deadline,
        )
        if not ranking:
            return []
        records = await self._store.read(space, [ranked.id for ranked in ranking], deadline=deadline)
        # What was erased or replaced between the two reads is left out: the store has the last word.
        hits = [
            Hit(record, ranked)
            for record, ranked in zip(records, ranking, strict=True)
            if record is not None and not record.expired(now) and not record.superseded_by
        ]
        self.usage.note(space, [hit.record for hit in hits])
        return hits

    async def get(self, space: str, ids: Sequence[str], *, deadline: float) -> list[Record | None]:
        """Read records by id, in that order; None where there is none."""
        limits.check_ids(ids)
        now = self._clock()
        records = await self._store.read(space, ids, deadline=deadline)
        found = [None if record is None or record.expired(now) else record for record in records]
        self.usage.note(space, [record for record in found if record is not None])
        return found

    async def page(
        self, space: str, *, chosen: Filter, size: int, token: str, superseded: bool, deadline: float
    ) -> Page:
        """List records in the order they were put.

        A page may hold fewer records than asked for, even none, and not be the last.
        """
        limits.check_filter(chosen, path="filter")
        size = limits.check_count("page_size", size, limit=limits.MAX_PAGE, default=limits.DEFAULT_PAGE)
        if token and not (token.isascii() and token.isdigit() and len(token) <= 16):
            raise InvalidArgument("page_token", token, "must be the next_page_token of an earlier page")
        now = self._clock()
        after, seen, taken = int(token or 0), 0, 0
        found: list[Record] = []
        while seen < _LONGEST_SCAN:
            page = await self._store.page(space, after=after, count=_PAGE_CHUNK, deadline=deadline)
            if not page:
                return Page(found, "")
            for number, record in page:
                after, seen = number, seen + 1
                hidden = record.expired(now) or (record.superseded_by and not superseded)
                if hidden or not chosen.matches(record.content):
                    continue
                found.append(record)
                taken += len(encode(record))
                if len(found) == size or taken > _PAGE_BYTES:
                    return Page(found, str(after))
        return Page(found, str(after))

    async def forget(self, space: str, ids: Sequence[str], *, deadline: float) -> int:
        """Erase records by id."""
        limits.check_ids(ids, path="ids.ids")
        return await self._store.erase(space, ids, change=self._ids.next(), deadline=deadline)

    async def forget_matching(self, space: str, chosen: Filter, *, deadline: float) -> int:
        """Erase all records that match, superseded ones included; batch by batch, so not as one change."""
        limits.check_filter(chosen, path="matching")
        if chosen.empty:
            raise InvalidArgument(
                "matching", "{}", "must not be empty; set everything to erase the whole space"
            )
        forgotten, after = 0, 0
        while page := await self._store.page(space, after=after, count=_PAGE_CHUNK, deadline=deadline):
            after = page[-1][0]
            ids = [record.id for _, record in page if chosen.matches(record.content)]
            if ids:
                forgotten += await self._store.erase(space, ids, change=self._ids.next(), deadline=deadline)
        return forgotten

    async def forget_everything(self, space: str, *, deadline: float) -> int:
        """Erase a whole space."""
        return await self._store.erase_space(space, change=self._ids.next(), deadline=deadline)

    async def totals(self, space: str, *, deadline: float) -> Totals:
        """Count a space."""
        return await self._store.totals(space, deadline=deadline)

    def _record(self, content: Content, *, supersedes: str = "") -> Record:
        record_id = self._ids.next()
        create_time = id_time(record_id)
        ttl = self._default_ttl if content.ttl is None else content.ttl
        return Record(
            id=record_id,
            content=content,
            create_time=create_time,
            expire_time=create_time + ttl if ttl else None,
            supersedes=supersedes,
        )


async def flush_usage(usage: Usage, store: RecordStore, *, now: int, seconds: float) -> None:
    """Write down which records were used since the last time; what can't be written is lost."""
    spaces = dict(usage.spaces)
    usage.spaces.clear()
    loop = asyncio.get_running_loop()
    for space, ids in spaces.items():
        await store.mark_used(space, sorted(ids), now=now, deadline=loop.time() + seconds)
