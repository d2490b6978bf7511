"""The durable truth: records in Redis, with a log of which ones changed.

Every change of a space is one script, so it happens whole or not at all, and its counters with it.
Scripts are safe to run twice: identifiers are made before the first try, and a second one finds them.

Keys of a space (its name in URL-safe base 64, which holds no separator, so no name reaches another's keys):

=========  ==========  =============================================================
part       type        holds
=========  ==========  =============================================================
records    hash        id -> record (JSON)
keys       hash        client key -> "id digest expiry"
log        stream      which ids changed, newest entries only; never text
order      sorted set  id by sequence number
expiry     sorted set  id by the time it expires
used       sorted set  id by last use, where records are forgotten when idle
=========  ==========  =============================================================
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from importlib import resources
from typing import Final, Literal, NamedTuple

from innervate_service.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound

from innervate_memory.connection import Argument, RedisConnection, Script
from innervate_memory.records import Record, decode, digest, encode

LOG_LENGTH: Final = 10_000
"""Log entries kept for each space; a replica further behind reads the records anew."""
_PREFIX: Final = "innervate:memory"
_PARTS: Final = ("records", "keys", "log", "order", "expiry", "used")
_CHANGES_BYTES: Final = 4 * 1024 * 1024
_SCAN_COUNT: Final = 256
_SUPERSEDE_TRIES: Final = 5


class Stored(NamedTuple):
    """What became of a record that was put."""

    id: str
    created: bool


class Place(NamedTuple):
    """A place in a space's log: the stream entry and the change that it announced."""

    entry: str
    change: str


class Changes(NamedTuple):
    """What changed since a place: ids with their records as they are now, None for erased ones."""

    place: Place
    more: bool
    records: list[tuple[str, Record | None]]


class Totals(NamedTuple):
    """Counts of a space or the whole store; bytes are those of the records' encoding."""

    records: int
    spaces: int
    size_bytes: int


def store_key(part: str) -> str:
    """Name of a key of the whole store."""
    return f"{_PREFIX}:{part}"


def encode_space(space: str) -> str:
    """Encode a space's name for use in keys and fields."""
    return base64.urlsafe_b64encode(space.encode()).decode()


def decode_space(encoded: str) -> str:
    """Undo `encode_space`."""
    return base64.urlsafe_b64decode(encoded).decode()


class RecordStore:
    """Records of every space in one Redis.

    Parameters
    ----------
    connection
        To that Redis.
    max_records
        Most records in a space.
    track_use
        Whether to note when records are used, for forgetting idle ones.
    log_length
        Log entries kept for each space, about.

    Notes
    -----
    Every method takes `deadline`, a time of the running event loop in seconds, and raises `Unavailable`
    when Redis does not answer until then.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        max_records: int,
        track_use: bool = False,
        log_length: int = LOG_LENGTH,
    ) -> None:
        self.connection = connection
        self._max_records = max_records
        self._track_use = track_use
        self._log_length = log_length

    async def put(
        self, space: str, records: Sequence[Record], *, change: str, now: int, deadline: float
    ) -> list[Stored]:
        """Store new records, all or none.

        Parameters
        ----------
        space
            Where to.
        records
            The records; their ids must be new.
        change
            An id for this change, new.
        now
            The time in microseconds: a key held by an expired record is free.

        Raises
        ------
        AlreadyExists
            A key is held by a record with other content.
        FailedPrecondition
            The space would hold more records than allowed.
        """
        return await self._write(space, records, change=change, now=now, deadline=deadline)

    async def supersede(
        self, space: str, old_id: str, record: Record, *, change: str, now: int, deadline: float
    ) -> Stored:
        """Store a new record that replaces another; see `put`.

        Raises
        ------
        NotFound
            There is no such record.
        FailedPrecondition
            The record has been replaced already.
        """
        for _ in range(_SUPERSEDE_TRIES):
            old = (await self.read(space, [old_id], deadline=deadline))[0]
            if old is None or old.expired(now):
                raise NotFound("record", old_id, "it was never in this space, or is forgotten or expired")
            if old.superseded_by:
                return await self._superseded_already(space, old, record, deadline=deadline)
            replaced = replace(old, superseded_by=record.id)
            written = await self._write(
                space,
                [record],
                change=change,
                now=now,
                deadline=deadline,
                replacing=(old_id, encode(old), encode(replaced)),
            )
            if written and not written[0].created:
                raise AlreadyExists(
                    "key", record.content.key, f"record {written[0].id} has it and does not replace {old_id}"
                )
            if written:
                return written[0]
        raise Aborted(f"record {old_id} was changed by others at the same time, nothing was written")

    async def _superseded_already(
        self, space: str, old: Record, record: Record, *, deadline: float
    ) -> Stored:
        """Accept the repetition of a supersede by its key and content, refuse any other."""
        successor = (await self.read(space, [old.superseded_by], deadline=deadline))[0]
        if successor is not None and record.content.key and successor.content == record.content:
            return Stored(successor.id, created=False)
        raise FailedPrecondition(
            "Superseded",
            old.id,
            f"record {old.id} has been replaced by {old.superseded_by} already; supersede that one",
        )

    async def read(self, space: str, ids: Sequence[str], *, deadline: float) -> list[Record | None]:
        """Read records by id, in that order; None where there is none. Expired ones may still be there."""
        values = await self.connection.command("HMGET", space_key(space, "records"), *ids, deadline=deadline)
        return [None if value is None else decode(value) for value in values]

    async def page(self, space: str, *, after: int, count: int, deadline: float) -> list[tuple[int, Record]]:
        """Read the next records in the order they were put, with their sequence numbers.

        Records erased meanwhile are left out; only an empty answer means that there are no more.
        """
        key = space_key(space, "order")
        limit: list[Argument] = ["LIMIT", 0, count]
        while True:
            flat = await self.connection.command(
                "ZRANGEBYSCORE", key, f"({after}", "+inf", "WITHSCORES", *limit, deadline=deadline
            )
            if not flat:
                return []
            numbers = [int(number) for number in flat[1::2]]
            records = await self.read(
                space, [record_id.decode() for record_id in flat[::2]], deadline=deadline
            )
            found = [(n, r) for n, r in zip(numbers, records, strict=True) if r is not None]
            if found:
                return found
            after = numbers[-1]

    async def erase(
        self,
        space: str,
        ids: Sequence[str],
        *,
        change: str,
        deadline: float,
        condition: Literal["any", "expired", "idle"] = "any",
        cutoff: int = 0,
        keep_newest: int = 0,
    ) -> int:
        """Erase records and tell how many there were.

        Parameters
        ----------
        condition
            ``any``; ``expired`` or ``idle`` erase only those that still are so at the cut-off.
        cutoff
            Microseconds.
        keep_newest
            So many of the space's newest records stay in any case.
        """
        arguments: list[Argument] = [encode_space(space), change, self._log_length]
        arguments += [condition, cutoff, keep_newest, *ids]
        return int(
            await self.connection.script(
                _ERASE, keys=_keys(space), arguments=arguments, deadline=deadline, writes=True
            )
        )

    async def erase_space(self, space: str, *, change: str, deadline: float) -> int:
        """Erase everything of a space, its name included, and tell how many records there were."""
        return int(
            await self.connection.script(
                _ERASE_SPACE,
                keys=_keys(space),
                arguments=[encode_space(space), change],
                deadline=deadline,
                writes=True,
            )
        )

    async def end_of_log(self, space: str, *, deadline: float) -> Place | None:
        """Tell the newest place in the log; None when the space is empty."""
        entries = await self.connection.command(
            "XREVRANGE", space_key(space, "log"), "+", "-", "COUNT", 1, deadline=deadline
        )
        if not entries:
            return None
        entry, fields = entries[0]
        return Place(entry.decode(), fields[1].decode())

    async def scan(self, space: str, *, seconds_each: float) -> AsyncIterator[list[bytes]]:
        """Read all records, encoded, in batches; those there throughout come at least once.

        Parameters
        ----------
        seconds_each
            How long to wait for one batch.
        """
        key, cursor = space_key(space, "records"), b"0"
        loop = asyncio.get_running_loop()
        while True:
            cursor, flat = await self.connection.command(
                "HSCAN", key, cursor, "COUNT", _SCAN_COUNT, deadline=loop.time() + seconds_each
            )
            yield flat[1::2]
            if cursor == b"0":
                return

    async def changes(self, space: str, place: Place, *, deadline: float) -> Changes | None:
        """Tell what changed since a place; None when that can't be told and the records must be read anew."""
        reply = await self.connection.script(
            _CHANGES, keys=_keys(space), arguments=[*place, _CHANGES_BYTES], deadline=deadline
        )
        if reply[0] == b"gap":
            return None
        records = [
            (record_id.decode(), None if value is None else decode(value))
            for record_id, value in zip(reply[4::2], reply[5::2], strict=True)
        ]
        return Changes(Place(reply[2].decode(), reply[3].decode()), bool(reply[1]), records)

    async def mark_used(self, space: str, ids: Sequence[str], *, now: int, deadline: float) -> None:
        """Note that records were used; those no longer there stay away."""
        pairs = [value for record_id in ids for value in (now, record_id)]
        await self.connection.command(
            "ZADD", space_key(space, "used"), "XX", "GT", *pairs, deadline=deadline, writes=True
        )

    async def totals(self, space: str, *, deadline: float) -> Totals:
        """Count a space, including records that expired and are not purged yet."""
        field = encode_space(space)
        records = await self.connection.command("HGET", store_key("counts"), field, deadline=deadline)
        size = await self.connection.command("HGET", store_key("sizes"), field, deadline=deadline)
        return Totals(int(records or 0), 0 if records is None else 1, int(size or 0))

    async def settle_erasure(self, mark: bytes, *, deadline: float) -> None:
        """Note that Redis's files hold nothing any more of what was erased up to this mark."""
        await self.connection.script(
            _SETTLE, keys=_keys(""), arguments=[mark], deadline=deadline, writes=True
        )

    async def _write(
        self,
        space: str,
        records: Sequence[Record],
        *,
        change: str,
        now: int,
        deadline: float,
        replacing: tuple[str, bytes, bytes] = ("", b"", b""),
    ) -> list[Stored]:
        """Run the put script; an empty list means that the record to replace is not as it was read."""
        arguments: list[Argument] = [
            encode_space(space),
            now,
            change,
            self._log_length,
            self._max_records,
            int(self._track_use),
            *replacing,
        ]
        for record in records:
            content = record.content
            arguments += [record.id, encode(record), content.key, digest(content), record.expire_time or 0]
        reply = await self.connection.script(
            _PUT, keys=_keys(space), arguments=arguments, deadline=deadline, writes=True
        )
        match reply[0]:
            case b"ok":
                pairs = zip(reply[1::2], reply[2::2], strict=True)
                return [Stored(record_id.decode(), bool(created)) for record_id, created in pairs]
            case b"conflict":
                key = records[reply[1]].content.key
                raise AlreadyExists(
                    "key",
                    key,
                    f"record {reply[2].decode()} has it with other content; nothing of the batch was written",
                )
            case b"full":
                raise FailedPrecondition(
                    "SpaceFull",
                    space,
                    f"space {space!r} holds {reply[1]} records and {self._max_records} are allowed; nothing "
                    "was written. Forget records, or raise spec.retrieval.maxRecordsPerSpace",
                )
            case _:
                return []


def space_key(space: str, part: str) -> str:
    """Name of a key of one space."""
    return f"{_PREFIX}:space:{encode_space(space)}:{part}"


def _keys(space: str) -> list[str]:
    return [
        *(space_key(space, part) for part in _PARTS),
        *(store_key(part) for part in ("counts", "sizes", "totals", "due")),
    ]


def _script(name: str, *, flags: str = "") -> Script:
    """Read a script and put the common part in front.

    The first line makes Redis refuse the whole script, rather than its first write, when memory is full
    or the disk can't be written.
    """
    folder = resources.files("innervate_memory") / "scripts"
    parts = [(folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("prelude", name)]
    return Script(name, "\n".join([f"#!lua flags={flags}" if flags else "#!lua", *parts]))


_PUT: Final = _script("put")
_ERASE: Final = _script("erase", flags="allow-oom")
_ERASE_SPACE: Final = _script("erase_space", flags="allow-oom")
_CHANGES: Final = _script("changes", flags="no-writes")
_SETTLE: Final = _script("settle", flags="allow-oom")
