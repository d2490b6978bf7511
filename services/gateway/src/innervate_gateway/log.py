"""Writing the exchange log: durable before anybody is told, and many records in one write.

One write is on its way at a time; what finishes meanwhile goes with the next. Redis answers once the
records are on its disk, so the cost of a sync is shared by all that wait for it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

from innervate_service.errors import ServiceError, Unavailable
from innervate_service.logs import get_logger
from innervate_service.redis import Script

from innervate_gateway import metrics
from innervate_gateway.records import (
    ARMS,
    STREAM,
    UNCOUNTED,
    bucket,
    bucket_end,
    counts_key,
    index_key,
    unit_of,
    writer_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_service.redis import Argument, RedisConnection

    from innervate_gateway.records import Record

    Done = Callable[[ServiceError | None], None]

_MAX_BATCH: Final = 512
_MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
WRITE_SECONDS: Final = 10.0
"""How long one write is tried; then its exchanges are told that they failed."""
STALL_SECONDS: Final = 2.0
"""A log that has not been written for so long takes no new exchanges."""
_PROBE_SECONDS: Final = 0.5
_log = get_logger(__name__)


def script(name: str) -> Script:
    """A script of this package."""
    return Script(name, resources.files(__package__).joinpath(f"scripts/{name}.lua").read_text("utf-8"))


_COMMIT: Final = script("commit")


class _Entry(NamedTuple):
    record: Record
    encoded: bytes
    done: Done


@dataclass(slots=True)
class _Count:
    release: str
    exchanges: int = 0
    errors: int = 0


class ExchangeLog:
    """Writes records.

    Parameters
    ----------
    connection
        The log's Redis.
    feedback_seconds
        How long requests are found by their ids.
    """

    def __init__(self, connection: RedisConnection, *, feedback_seconds: int) -> None:
        self._connection = connection
        self._feedback_ms = feedback_seconds * 1000
        self._pending: list[_Entry] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._writer = secrets.token_hex(8)
        self._batch = 0
        self._waiting_since: float | None = None
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="exchange-log")

    async def close(self) -> None:
        """Write what is there, and end."""
        if self._task is None:
            return
        await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def append(self, record: Record, done: Done) -> None:
        """Write a record; `done` is told once it is durable, or why it is not known to be."""
        if not self._pending and self._waiting_since is None:
            self._waiting_since = asyncio.get_running_loop().time()
            self._idle.clear()
        self._pending.append(_Entry(record, record.encode(), done))
        self._work.set()

    def problem(self, now: float) -> str | None:
        """Why no new exchange should begin; None when it may."""
        if self._failure is not None:
            return self._failure
        if self._waiting_since is not None and now - self._waiting_since > STALL_SECONDS:
            return f"the exchange log has not been written for {now - self._waiting_since:.1f} s"
        return None

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if self._failure is not None and not self._pending:
                await self._probe()
                continue
            await self._work.wait()
            self._work.clear()
            # What becomes ready in this same turn of the loop goes along.
            await asyncio.sleep(0)
            while self._pending:
                self._waiting_since = loop.time()
                taken = self._take()
                error = await self._write(taken)
                for entry in taken:
                    try:
                        entry.done(error)
                    except Exception as bug:  # noqa: BLE001  one exchange's bug must not end the log
                        _log.exception("an exchange could not be ended", bug)
            self._waiting_since = None
            self._idle.set()

    def _take(self) -> list[_Entry]:
        size = 0
        for count, entry in enumerate(self._pending):
            size += len(entry.encoded)
            if count == _MAX_BATCH or (count and size > _MAX_BATCH_BYTES):
                taken, self._pending = self._pending[:count], self._pending[count:]
                return taken
        taken, self._pending = self._pending, []
        return taken

    async def _write(self, entries: list[_Entry]) -> ServiceError | None:
        """Write a batch; tries after a lost answer find it by its number."""
        self._batch += 1
        keys, arguments = self._describe(entries)
        try:
            await self._connection.script(
                _COMMIT,
                keys=keys,
                arguments=arguments,
                deadline=asyncio.get_running_loop().time() + WRITE_SECONDS,
                writes=True,
                traced=False,
            )
        except ServiceError as error:
            metrics.LOG_FAILURES.inc()
            if self._failure is None:
                _log.error("the exchange log cannot be written", error=str(error), exchanges=len(entries))
            self._failure = str(error)
            return error
        except Exception as bug:  # noqa: BLE001  whatever it is, the exchanges must not hang
            metrics.LOG_FAILURES.inc()
            _log.exception("the exchange log cannot be written", bug)
            self._failure = type(bug).__name__
            return Unavailable("the exchange log cannot be written")
        self._recovered()
        metrics.LOG_BATCHES.inc()
        metrics.LOG_ENTRIES.inc(len(entries))
        return None

    def _describe(self, entries: list[_Entry]) -> tuple[list[str], list[Argument]]:
        counts: dict[str, _Count] = {}
        rows: dict[int, list[Argument]] = {}
        for record, encoded, _ in entries:
            if record.counted:
                count = counts.get(record.arm)
                if count is None:
                    count = counts[record.arm] = _Count(record.release)
                count.exchanges += 1
                count.errors += record.failed
                unit = unit_of(record.tenant, record.session)
            else:
                unit = UNCOUNTED
            row = rows.setdefault(bucket(record.time_ms), [])
            row += (record.request_id, f"{unit} {record.arm}", encoded)
        keys = [STREAM, writer_key(self._writer), ARMS]
        keys += [counts_key(arm) for arm in counts]
        keys += [index_key(number) for number in rows]
        arguments: list[Argument] = [self._batch, time.time_ns() // 1_000_000, len(counts), len(rows)]
        for arm, count in counts.items():
            arguments += (arm, count.release, count.exchanges, count.errors)
        for number, row in rows.items():
            arguments += (bucket_end(number) + self._feedback_ms, len(row) // 3)
        for row in rows.values():
            arguments += row
        return keys, arguments

    async def _probe(self) -> None:
        """See whether Redis can write again: nobody else would, since no exchange begins."""
        try:
            deadline = asyncio.get_running_loop().time() + _PROBE_SECONDS
            await self._connection.command(
                "SET", writer_key(self._writer), self._batch, "PX", 3_600_000, deadline=deadline, writes=True
            )
        except ServiceError as error:
            self._failure = str(error)
            await asyncio.sleep(_PROBE_SECONDS)
        else:
            self._recovered()

    def _recovered(self) -> None:
        if self._failure is not None:
            _log.info("the exchange log is written again")
        self._failure = None
