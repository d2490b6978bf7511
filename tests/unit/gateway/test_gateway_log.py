"""The exchange log on a real Redis: what is written, counted, judged, read and given up."""

import asyncio
import time

import pytest
from innervate_gateway.log import ExchangeLog
from innervate_gateway.readings import (
    ALREADY_REPORTED,
    RECORDED,
    TOO_LATE,
    UNKNOWN_EXCHANGE,
    ArmCounts,
    LogReader,
    Report,
)
from innervate_gateway.records import BUCKET_MS, Given, Outcome, Record, RequestIds, decode, time_of
from innervate_gateway.upkeep import Upkeep
from innervate_service.errors import InvalidArgument

DAY = 86_400


def record(**fields) -> Record:
    request_id = fields.pop("request_id", None) or RequestIds().next()
    values = {
        "request_id": request_id,
        "time_ms": time_of(request_id),
        "tenant": "shop/agent",
        "session": "",
        "task": "",
        "arm": "stable-7",
        "release": "first",
        "propensity": 0.9,
        "outcome": Outcome.ANSWERED,
        "status_code": 200,
    }
    return Record(**(values | fields))


@pytest.fixture
async def log(connection):
    log = ExchangeLog(connection, feedback_seconds=DAY)
    log.start()
    yield log
    await log.close()


@pytest.fixture
def reader(connection):
    return LogReader(connection, feedback_seconds=DAY, retention_seconds=7 * DAY, keep_expected=True)


async def write(log: ExchangeLog, *records: Record) -> None:
    done: list[asyncio.Future] = []
    for each in records:
        future = asyncio.get_running_loop().create_future()
        log.append(each, future.set_result)
        done.append(future)
    assert await asyncio.wait_for(asyncio.gather(*done), 30) == [None] * len(records)


async def judged(reader: LogReader, *given: tuple[Record, str, float]) -> list[int]:
    return await reader.report([Report(r.request_id, Given(name, value, "")) for r, name, value in given])


async def counts(reader: LogReader, name: str = "success") -> dict[str, ArmCounts]:
    return {each.arm: each for each in await reader.outcomes([], name)}


async def everything(reader: LogReader, **settings):
    chosen = {"tenant": None, "arm": "", "release": "", "size": 0, "token": ""} | settings
    found = []
    while True:
        page = await reader.page(**chosen)
        found += page.exchanges
        if not page.next_token:
            return found
        chosen["token"] = page.next_token


async def test_what_is_written_is_read_in_its_order(log, reader):
    written = [record(session=str(number), input_tokens=number) for number in range(25)]
    await write(log, *written)
    assert [listed.record for listed in await everything(reader, size=10)] == written


async def test_many_records_go_in_one_write(log, connection):
    await write(log, *(record() for _ in range(1200)))
    batches = await connection.command("GET", f"innervate:{{exchange}}:writer:{log._writer}", deadline=1e12)
    assert int(batches) < 10


async def test_arms_are_counted_by_what_traffic_chose(log, reader):
    await write(
        log,
        record(),
        record(outcome=Outcome.FAILED, status_code=502),
        record(outcome=Outcome.EXPIRED, status_code=504),
        record(outcome=Outcome.ABANDONED),
        record(arm="candidate-7", release="second", propensity=0.1),
        record(arm="candidate-7", release="second", propensity=0),
    )
    assert await counts(reader) == {
        "stable-7": ArmCounts("stable-7", "first", 4, 2, 0, 0),
        "candidate-7": ArmCounts("candidate-7", "second", 1, 0, 0, 0),
    }
    assert await reader.outcomes(["nobody"], "success") == [ArmCounts("nobody", "", 0, 0, 0, 0)]


async def test_a_batch_that_is_sent_twice_counts_once(log, reader, connection, monkeypatch):
    """The answer to the first try is lost on its way."""
    whole = connection._execute
    calls = 0

    async def losing(*arguments):
        nonlocal calls
        answer = await whole(*arguments)
        calls += 1
        if calls <= 2 and str(arguments[0]).startswith("EVAL"):
            raise ConnectionError("lost")
        return answer

    monkeypatch.setattr(connection, "_execute", losing)
    await write(log, record(), record())
    assert calls >= 3
    assert (await counts(reader))["stable-7"].exchanges == 2
    assert len(await everything(reader)) == 2


async def test_feedback_joins_once(log, reader):
    one = record()
    await write(log, one)
    assert await judged(reader, (one, "success", 1), (one, "style", 0.2)) == [RECORDED, RECORDED]
    assert await judged(reader, (one, "success", 0)) == [ALREADY_REPORTED]
    assert (await counts(reader))["stable-7"][4:] == (1, 1)
    assert (await counts(reader, "style"))["stable-7"][4:] == (1, 0)
    [listed] = await everything(reader)
    assert listed.feedback == (Given("success", 1, ""), Given("style", 0.2, ""))


async def test_a_session_is_one_unit_by_its_first_feedback(log, reader):
    first, second = record(session="s"), record(session="s")
    other = record(session="s", tenant="shop/other")
    alone = [record(), record()]
    await write(log, first, second, other, *alone)
    await judged(reader, (first, "success", 0), (second, "success", 1), (other, "success", 1))
    assert (await counts(reader))["stable-7"][4:] == (2, 1)
    await judged(reader, (alone[0], "success", 0.5), (alone[1], "success", 0.49))
    assert (await counts(reader))["stable-7"][4:] == (4, 2)


async def test_feedback_on_what_the_caller_chose_is_kept_and_counts_for_no_arm(log, reader):
    pinned = record(propensity=0)
    await write(log, pinned, record())
    assert await judged(reader, (pinned, "success", 1)) == [RECORDED]
    assert (await counts(reader))["stable-7"][4:] == (0, 0)
    assert (await everything(reader))[0].feedback == (Given("success", 1, ""),)


async def test_feedback_on_nothing_or_too_late_is_told(log, reader, connection):
    one = record()
    await write(log, one)
    late = LogReader(
        connection,
        feedback_seconds=DAY,
        retention_seconds=7 * DAY,
        keep_expected=True,
        clock=lambda: one.time_ms + DAY * 1000 + 1,
    )
    assert await judged(late, (one, "success", 1)) == [TOO_LATE]
    ids = ["", "x", "00000000000-" + "0" * 20, one.request_id[:-1] + "\xe9"]
    results = await reader.report([Report(text, Given("success", 1, "")) for text in ids])
    assert results == [UNKNOWN_EXCHANGE, UNKNOWN_EXCHANGE, TOO_LATE, UNKNOWN_EXCHANGE]
    assert await judged(reader, (record(), "success", 1)) == [UNKNOWN_EXCHANGE]
    assert (await counts(reader))["stable-7"][4:] == (0, 0)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (Given("", 1, ""), "name"),
        (Given("a b", 1, ""), "name"),
        (Given("x" * 64, 1, ""), "name"),
        (Given("success", 1.1, ""), "value"),
        (Given("success", float("nan"), ""), "value"),
        (Given("success", 1, "x" * 16_385), "expected"),
    ],
)
async def test_malformed_feedback_is_refused_whole(log, reader, given, field):
    one = record()
    await write(log, one)
    reports = [Report(one.request_id, Given("success", 1, "")), Report(one.request_id, given)]
    with pytest.raises(InvalidArgument, match=rf"feedback\[1\]\.{field}"):
        await reader.report(reports)
    assert (await everything(reader))[0].feedback == ()


async def test_names_of_feedback_are_bounded(log, reader):
    one = record()
    await write(log, one)
    await judged(reader, *((one, f"name{number}", 1) for number in range(16)))
    with pytest.raises(InvalidArgument, match="16 names"):
        await judged(reader, (one, "another", 1))


async def test_feedback_of_too_many_names_is_refused_whole(log, reader):
    full, other = record(), record()
    await write(log, full, other)
    await judged(reader, *((full, f"name{number}", 1) for number in range(15)))
    with pytest.raises(InvalidArgument, match=r"feedback\[3\]\.name"):
        await judged(
            reader,
            (other, "success", 1),
            (full, "name0", 1),
            (full, "success", 1),
            (full, "another", 1),
            (other, "style", 1),
        )
    assert (await counts(reader))["stable-7"][4:] == (0, 0)
    assert {len(each.feedback) for each in await everything(reader)} == {0, 15}
    # What is there already takes no more room, and of one report's names the last may be the last.
    answers = await judged(reader, (full, "name0", 1), (full, "success", 1), (full, "success", 0))
    assert answers == [ALREADY_REPORTED, RECORDED, ALREADY_REPORTED]
    assert (await counts(reader))["stable-7"][4:] == (1, 1)


async def test_the_log_is_filtered(log, reader):
    await write(
        log,
        record(),
        record(arm="candidate-7", release="second"),
        record(tenant="shop/other"),
        record(arm="candidate-7", release="second", tenant="shop/other"),
    )

    async def number(**settings) -> int:
        return len(await everything(reader, **settings))

    assert await number() == 4
    assert await number(tenant="shop/agent") == 2
    assert await number(arm="candidate-7") == 2
    assert await number(release="second", tenant="shop/other") == 1
    assert await number(arm="candidate-7", release="first") == 0
    with pytest.raises(InvalidArgument, match="page_token"):
        await reader.page(tenant=None, arm="", release="", size=1, token="0 1")
    with pytest.raises(InvalidArgument, match="page_size"):
        await reader.page(tenant=None, arm="", release="", size=1001, token="")


async def test_a_long_log_is_read_in_pages_that_may_be_short(log, reader):
    """A page's filters pass over a bounded part of the log."""
    await write(log, *(record() for _ in range(60)), record(arm="candidate-7"))
    page = await reader.page(tenant=None, arm="candidate-7", release="", size=5, token="")
    assert page.exchanges == []
    assert page.next_token
    assert len(await everything(reader, arm="candidate-7", size=5)) == 1


async def test_long_records_make_short_pages(log, reader):
    """A page with bodies must pass in one answer."""
    await write(log, *(record(request_content="x" * 250_000) for _ in range(20)))
    page = await reader.page(tenant=None, arm="", release="", size=1000, token="")
    assert 0 < len(page.exchanges) < 5
    assert page.next_token
    found = await everything(reader, size=1000)
    assert len({each.record.request_id for each in found}) == len(found) == 20


async def test_what_is_too_old_leaves_and_counts_stay(log, reader, connection):
    old = record(session="s")
    await write(log, old)
    await judged(reader, (old, "success", 1))
    now = time.time_ns() // 1_000_000

    def upkeep(after_seconds: int) -> Upkeep:
        return Upkeep(connection, own=True, retention_seconds=DAY, clock=lambda: now + after_seconds * 1000)

    await upkeep(DAY - 60).trim()
    assert len(await everything(reader)) == 1
    await upkeep(DAY + 60).trim()
    assert await everything(reader) == []
    assert (await counts(reader))["stable-7"] == ArmCounts("stable-7", "first", 1, 0, 1, 1)
    assert (
        await connection.command("ZCARD", "innervate:{exchange}:units:stable-7:success", deadline=1e12) == 0
    )
    await upkeep(91 * DAY).trim()
    assert await counts(reader) == {}


async def test_requests_of_different_times_are_found_though_written_at_once(log, reader):
    now = time.time_ns() // 1_000_000
    times = (now, now - BUCKET_MS, now, now - 2 * BUCKET_MS, now - BUCKET_MS)
    # As requests that took long, and end together with newer ones.
    mixed = [record(request_id=f"{moment:011x}-{number:020x}") for number, moment in enumerate(times)]
    await write(log, *mixed)
    found = await everything(reader)
    assert {each.record.request_id for each in found} == {each.request_id for each in mixed}
    assert await judged(reader, *((each, "success", 1) for each in mixed)) == [RECORDED] * len(mixed)
    assert (await counts(reader))["stable-7"].units == len(mixed)


async def test_indexes_and_feedback_expire(log, reader, connection):
    one = record(session="s")
    await write(log, one)
    await judged(reader, (one, "success", 1))
    keys = await connection.command("KEYS", "innervate:{exchange}:*", deadline=1e12)
    lives = {key.decode().split(":")[2]: await connection.command("TTL", key, deadline=1e12) for key in keys}
    assert DAY - 5 < lives["index"] <= DAY + 600
    assert 7 * DAY - 5 < lives["feedback"] <= 7 * DAY + 600
    assert lives["writer"] > 0
    assert lives["log"] == lives["arms"] == lives["counts"] == lives["units"] == -1


async def test_redis_must_sync_every_write(connection):
    upkeep = Upkeep(connection, own=True, retention_seconds=DAY)
    assert upkeep.problem()
    await upkeep.check()
    assert upkeep.problem() is None
    await connection.command("CONFIG", "SET", "appendfsync", "everysec", deadline=1e12)
    try:
        await upkeep.check()
        assert "appendfsync is 'everysec'" in upkeep.problem()
    finally:
        await connection.command("CONFIG", "SET", "appendfsync", "always", deadline=1e12)


def test_records_survive_newer_and_older_gateways():
    one = record(cost="0.1")
    text = one.encode()
    assert decode(text) == one
    assert decode(text[:-1] + b',"of a newer gateway"]') == one
    shorter = b"[" + b",".join(text[1:-1].split(b",")[:8]) + b"]"
    assert decode(shorter).request_id == one.request_id


def test_request_ids_carry_their_time_and_cannot_be_guessed():
    ids = RequestIds()
    made = [ids.next() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(abs(time_of(each) - time.time() * 1000) < 60_000 for each in made)
    assert len({each.partition("-")[2] for each in made}) == 1000
