"""Reading the exchange log, and joining feedback to what stands in it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from innervate_service.errors import InvalidArgument

from innervate_gateway.log import script
from innervate_gateway.records import (
    ARMS,
    STREAM,
    Given,
    Listed,
    bucket,
    bucket_end,
    counts_key,
    decode,
    feedback_key,
    index_key,
    time_of,
    units_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from innervate_service.redis import Argument, RedisConnection

    from innervate_gateway.records import Record

RECORDED: Final = 1
ALREADY_REPORTED: Final = 2
UNKNOWN_EXCHANGE: Final = 3
TOO_LATE: Final = 4
"""What becomes of a feedback; the numbers are those of the interface."""

MAX_FEEDBACK: Final = 256
MAX_NAMES: Final = 16
"""Feedback of so many names is kept for one exchange."""
MAX_EXPECTED_BYTES: Final = 16 * 1024
MAX_PAGE: Final = 1000
MAX_ARMS: Final = 64
_PAGE: Final = 100
_SCANNED_PAGES: Final = 10
"""How much of the log one page's filters may pass over, as a multiple of the page."""
_PAGE_BYTES: Final = 1024 * 1024
"""How much a page holds, but for one record at least: with bodies records are long, and answers bounded."""
_READ_AT_ONCE: Final = 16
_COMMAND_SECONDS: Final = 10.0
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_POSITION: Final = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")
_REPORT: Final = script("report")


class Report(NamedTuple):
    """Feedback on a request."""

    request_id: str
    given: Given


class ArmCounts(NamedTuple):
    """What came of an arm's exchanges."""

    arm: str
    release: str
    exchanges: int
    errors: int
    units: int
    successes: int


class Page(NamedTuple):
    """A part of the log."""

    exchanges: list[Listed]
    next_token: str


class LogReader:
    """Reads the log.

    Parameters
    ----------
    connection
        The log's Redis.
    feedback_seconds
        How long after a request its feedback is taken.
    retention_seconds
        How long feedback is kept.
    keep_expected
        Whether expected answers are kept: they are content.
    clock
        Milliseconds since 1970.
    """

    def __init__(
        self,
        connection: RedisConnection,
        *,
        feedback_seconds: int,
        retention_seconds: int,
        keep_expected: bool,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._connection = connection
        self._feedback_ms = feedback_seconds * 1000
        self._retention_ms = retention_seconds * 1000
        self._keep_expected = keep_expected
        self._clock = clock

    async def report(self, reports: Sequence[Report]) -> list[int]:
        """Join feedback; gives for each what became of it.

        Raises
        ------
        InvalidArgument
            A feedback is malformed, or one too many for its exchange; nothing was joined.
        """
        if len(reports) > MAX_FEEDBACK:
            raise InvalidArgument("feedback", f"{len(reports)} of them", f"must be at most {MAX_FEEDBACK}")
        for place, report in enumerate(reports):
            _check(report.given, f"feedback[{place}]")
        now = self._clock()
        results = [UNKNOWN_EXCHANGE] * len(reports)
        found: list[tuple[int, str, str]] = []
        times = [time_of(report.request_id) for report in reports]
        open_places = []
        for place, moment in enumerate(times):
            if moment is not None and now - moment > self._feedback_ms:
                results[place] = TOO_LATE
            elif moment is not None:
                open_places.append(place)
        entries = await asyncio.gather(
            *(self._find(reports[place].request_id, times[place] or 0) for place in open_places)
        )
        for place, entry in zip(open_places, entries, strict=True):
            if entry is not None:
                _, unit, arm = entry.decode().split(" ", 2)
                found.append((place, unit, arm))
        if found:
            for place, result in await self._join(reports, found, now):
                results[place] = result
        return results

    async def _find(self, request_id: str, moment: int) -> bytes | None:
        entry: bytes | None = await self._command("HGET", index_key(bucket(moment)), request_id)
        return entry

    async def _join(
        self, reports: Sequence[Report], found: Sequence[tuple[int, str, str]], now: int
    ) -> list[tuple[int, int]]:
        keys: list[str] = []
        arguments: list[Argument] = [now, MAX_NAMES]
        for place, unit, arm in found:
            request_id, given = reports[place]
            number = bucket(time_of(request_id) or 0)
            keys += (feedback_key(number), counts_key(arm), units_key(arm, given.name))
            expected = given.expected if self._keep_expected else ""
            ends = bucket_end(number) + self._retention_ms
            arguments += (ends, request_id, given.name, repr(given.value), expected, unit)
        answer = await self._connection.script(
            _REPORT, keys=keys, arguments=arguments, deadline=_deadline(), writes=True
        )
        for (place, _, _), result in zip(found, answer, strict=True):
            if result == 3:
                raise InvalidArgument(
                    f"feedback[{place}].name",
                    reports[place].given.name,
                    f"the exchange has feedback of {MAX_NAMES} names already, which is all that is kept",
                )
        return [(place, result) for (place, _, _), result in zip(found, answer, strict=True)]

    async def outcomes(self, arms: Sequence[str], feedback: str) -> list[ArmCounts]:
        """Count exchanges and feedback of arms, or of all that the log knows.

        Raises
        ------
        InvalidArgument
            More arms are named than are counted at once, or the feedback's name is malformed.
        """
        if len(arms) > MAX_ARMS:
            raise InvalidArgument("arms", f"{len(arms)} of them", f"must be at most {MAX_ARMS}")
        if feedback and not _NAME.fullmatch(feedback):
            raise InvalidArgument("feedback", feedback, _NAME_FIX)
        names = list(arms)
        if not names:
            names = [arm.decode() for arm in await self._command("ZREVRANGE", ARMS, 0, MAX_ARMS - 1)]
        fields = ("release", "exchanges", "errors", f"units:{feedback}", f"successes:{feedback}")
        rows = await asyncio.gather(*(self._command("HMGET", counts_key(name), *fields) for name in names))
        return [
            ArmCounts(name, (row[0] or b"").decode(), *(int(value or 0) for value in row[1:]))
            for name, row in zip(names, rows, strict=True)
        ]

    async def page(self, *, tenant: str | None, arm: str, release: str, size: int, token: str) -> Page:
        """Read the log from where the token leads.

        Parameters
        ----------
        tenant
            Only exchanges of this caller; None for all.
        arm, release
            Only exchanges of these; empty for all.
        size
            Most exchanges; 0 for the default.
        token
            Of the page before; empty for the beginning.

        Raises
        ------
        InvalidArgument
            The size is too large, or the token none of ours.
        """
        if size > MAX_PAGE:
            raise InvalidArgument("page_size", size, f"must be at most {MAX_PAGE}")
        if token and not _POSITION.fullmatch(token):
            raise InvalidArgument("page_token", token, "must be the next_page_token of the page before")
        size = size or _PAGE
        records: list[Record] = []
        scanned = taken = 0
        while len(records) < size and scanned < size * _SCANNED_PAGES:
            start = f"({token}" if token else "-"
            count = min(size - len(records), _READ_AT_ONCE)
            entries = await self._command("XRANGE", STREAM, start, "+", "COUNT", count)
            if not entries:
                return Page(await self._with_feedback(records), "")
            scanned += len(entries)
            for place, fields in entries:
                record = decode(fields[1])
                if (
                    tenant in {None, record.tenant}
                    and arm in {"", record.arm}
                    and release in {"", record.release}
                ):
                    taken += len(fields[1])
                    if records and taken > _PAGE_BYTES:
                        return Page(await self._with_feedback(records), token)
                    records.append(record)
                token = place.decode()
        return Page(await self._with_feedback(records), token)

    async def _with_feedback(self, records: Sequence[Record]) -> list[Listed]:
        by_bucket: dict[int, list[str]] = {}
        for record in records:
            by_bucket.setdefault(bucket(record.time_ms), []).append(record.request_id)
        rows = await asyncio.gather(
            *(self._command("HMGET", feedback_key(number), *ids) for number, ids in by_bucket.items())
        )
        given: dict[str, tuple[Given, ...]] = {}
        for ids, row in zip(by_bucket.values(), rows, strict=True):
            for request_id, text in zip(ids, row, strict=True):
                if text is not None:
                    parts = orjson.loads(text)
                    given[request_id] = tuple(Given(name, float(value), want) for name, value, want in parts)
        return [Listed(record, given.get(record.request_id, ())) for record in records]

    async def _command(self, *arguments: Argument) -> Any:
        return await self._connection.command(*arguments, deadline=_deadline())


_NAME_FIX: Final = "must be 1 to 63 letters, digits, dots, dashes and underscores"


def _check(given: Given, path: str) -> None:
    if not _NAME.fullmatch(given.name):
        raise InvalidArgument(f"{path}.name", given.name, _NAME_FIX)
    if not 0 <= given.value <= 1:
        raise InvalidArgument(f"{path}.value", given.value, "must be from 0 to 1")
    if len(given.expected.encode()) > MAX_EXPECTED_BYTES:
        raise InvalidArgument(
            f"{path}.expected",
            f"{len(given.expected)} characters",
            f"must be at most {MAX_EXPECTED_BYTES} bytes",
        )


def _deadline() -> float:
    return asyncio.get_running_loop().time() + _COMMAND_SECONDS
