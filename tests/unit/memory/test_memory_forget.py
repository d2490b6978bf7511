"""Forgetting: nothing of the text stays, counters follow, and retention erases what it should and no more."""

import asyncio
from dataclasses import replace

import pytest
from eventually import eventually
from innervate_memory.config import Durability, ForgetConfig
from innervate_memory.connection import RedisConnection
from innervate_memory.memory import flush_usage
from innervate_memory.records import Content, Filter, encode
from innervate_service.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from memory_core import replica
from redis_process import RedisProcess

SECRET = "zanzibar"


async def everything_in_redis(one) -> bytes:
    """All keys and values, serialised (short values are not compressed by Redis)."""
    keys = await one.store.connection.command("KEYS", "*", deadline=one.deadline)
    dumps = [await one.store.connection.command("DUMP", key, deadline=one.deadline) for key in keys]
    return b"".join([*keys, *dumps])


async def test_nothing_of_a_forgotten_record_stays_in_redis(make):
    one = make()
    content = Content(text=SECRET, key=f"{SECRET}-key", user_id=SECRET, metadata={SECRET: SECRET}, ttl=10**9)
    (secret, _) = await one.put("space", content, "tea")
    assert SECRET.encode() in await everything_in_redis(one)
    assert await one.memory.forget("space", [secret], deadline=one.deadline) == 1
    left = await everything_in_redis(one)
    assert SECRET.encode() not in left
    assert len(await one.listed("space")) == 1
    assert await one.memory.forget("space", [secret], deadline=one.deadline) == 0


async def test_a_forgotten_key_can_be_put_anew(make):
    one = make()
    (old,) = await one.put("space", Content(text="tea", key="k"))
    await one.memory.forget("space", [old], deadline=one.deadline)
    (new,) = await one.put("space", Content(text="coffee", key="k"))
    assert new != old


async def test_forgetting_everything_leaves_no_key_of_the_space(make):
    one = make()
    await one.put("space", *[f"{SECRET} {number}" for number in range(100)])
    assert await one.memory.forget_everything("space", deadline=one.deadline) == 100
    keys = await one.store.connection.command("KEYS", "*:space:*", deadline=one.deadline)
    assert keys == []
    totals, _ = await one.upkeep.totals()
    assert (totals.records, totals.spaces) == (0, 0)


async def test_forgetting_by_filter_takes_all_that_match_and_no_other(make):
    one = make()
    contents = [Content(text=f"tea {n}", user_id="uv"[n % 2], metadata={"m": str(n % 3)}) for n in range(256)]
    await one.put("space", *contents)
    await one.put("space", *contents)
    chosen = Filter(user_id="u", metadata={"m": "1"})
    matching = 2 * sum(chosen.matches(content) for content in contents)
    assert await one.memory.forget_matching("space", chosen, deadline=one.deadline) == matching
    left = await one.listed("space")
    assert len(left) == 512 - matching
    assert not any(chosen.matches(record.content) for record in left)
    with pytest.raises(InvalidArgument, match="matching"):
        await one.memory.forget_matching("space", Filter(), deadline=one.deadline)


async def test_a_record_is_superseded_once(make):
    one, two = make(), make()
    (old,) = await one.put("space", "tea")
    results = await asyncio.gather(
        *(
            each.memory.supersede("space", old, Content(text=f"newer {n}"), deadline=one.deadline)
            for n, each in enumerate([one, two] * 5)
        ),
        return_exceptions=True,
    )
    done = [result for result in results if not isinstance(result, Exception)]
    assert len(done) == 1
    assert all(isinstance(result, FailedPrecondition) for result in results if isinstance(result, Exception))
    assert all(done[0].id in str(result) for result in results if isinstance(result, Exception))
    assert [record.id for record in await one.listed("space")] == [done[0].id]


async def test_a_record_that_changed_after_it_was_read_is_not_overwritten(make, clock):
    one = make()
    (old_id,) = await one.put("space", "tea")
    (old,) = await one.store.read("space", [old_id], deadline=one.deadline)
    await one.memory.supersede("space", old_id, Content(text="newer"), deadline=one.deadline)
    late = one.memory._record(Content(text="late"), supersedes=old_id)
    replacing = (old_id, encode(old), encode(replace(old, superseded_by=late.id)))
    settings = {"change": "C", "now": clock(), "deadline": one.deadline, "replacing": replacing}
    assert await one.store._write("space", [late], **settings) == []
    assert [record.content.text for record in await one.listed("space")] == ["newer"]


async def test_an_erasure_under_a_condition_checks_it_again(make, clock):
    """Between finding a record and erasing it somebody may have used it, or put its key anew."""
    one = make(forget=ForgetConfig(max_idle_seconds=50))
    ids = await one.put("space", Content(text="tea", ttl=100_000_000), "tea")
    cutoff = clock.now
    await one.store.mark_used("space", ids[:1], now=cutoff + 1, deadline=one.deadline)
    for condition, left in (("expired", 2), ("idle", 1)):
        await one.store.erase(
            "space", ids, change="C", deadline=one.deadline, condition=condition, cutoff=cutoff
        )
        assert len(await one.listed("space")) == left


async def test_a_repeated_supersede_with_a_key_gives_the_same_answer(make):
    one = make()
    old, other = await one.put("space", "tea", "other")
    newer = Content(text="newer", key="k")
    first = await one.memory.supersede("space", old, newer, deadline=one.deadline)
    again = await one.memory.supersede("space", old, newer, deadline=one.deadline)
    assert (first.created, again.created, first.id) == (True, False, again.id)
    with pytest.raises(AlreadyExists, match="'k'"):
        await one.memory.supersede("space", other, newer, deadline=one.deadline)
    with pytest.raises(NotFound):
        await one.memory.supersede("space", "0" * 26, newer, deadline=one.deadline)
    with pytest.raises(NotFound):
        await one.memory.supersede("elsewhere", first.id, Content(text="x"), deadline=one.deadline)


async def test_expired_records_are_purged_with_everything_about_them(make, clock):
    one = make()
    short = Content(text=SECRET, key="k", ttl=5_000_000)
    ids = await one.put("space", short, Content(text="tea", ttl=0))
    await one.put("gone", *[Content(text=SECRET, ttl=5_000_000) for _ in range(3)])
    clock.advance(4.9)
    await one.upkeep.sweep()
    assert (await one.upkeep.totals())[0].records == 5
    clock.advance(0.1)
    (newer,) = await one.put("space", short)  # before the purge the key is free already
    assert newer != ids[0]
    await one.memory.forget("space", [newer], deadline=one.deadline)
    await one.upkeep.sweep()
    totals, _ = await one.upkeep.totals()
    assert (totals.records, totals.spaces) == (1, 1)
    assert SECRET.encode() not in await everything_in_redis(one)


async def test_the_default_time_to_live_applies_where_none_is_said(make):
    one = make(default_ttl=7_000_000)
    default, ever = await one.put("space", "tea", Content(text="tea", ttl=0))
    records = {record.id: record for record in await one.listed("space")}
    assert records[default].expire_time == records[default].create_time + 7_000_000
    assert records[ever].expire_time is None


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (ForgetConfig(max_age_seconds=25), [3, 4, 5]),
        (ForgetConfig(max_age_seconds=25, keep_newest=4), [2, 3, 4, 5]),
        (ForgetConfig(max_age_seconds=25, keep_newest=1), [3, 4, 5]),
        (ForgetConfig(keep_newest=2), [4, 5]),
        (ForgetConfig(keep_newest=10), [0, 1, 2, 3, 4, 5]),
        (ForgetConfig(max_idle_seconds=25), [0, 3, 4, 5]),
        (ForgetConfig(max_idle_seconds=25, keep_newest=5), [0, 1, 2, 3, 4, 5]),
        (ForgetConfig(max_idle_seconds=25, max_age_seconds=45), [3, 4, 5]),
        (ForgetConfig(), [0, 1, 2, 3, 4, 5]),
    ],
)
async def test_rules_erase_what_is_old_idle_or_too_many(make, clock, rules, left):
    """Records 0 to 5 are put 10 s apart, record 0 is found 20 s before the end."""
    one = make(forget=rules)
    ids: list[str] = []
    for number in range(6):
        if number == 4:
            assert await one.found("space", "zero") == ids[:1]
            await flush(one, clock)
        ids += await one.put("space", "zero" if number == 0 else "other")
        clock.advance(10)
    clock.advance(-6)
    await one.upkeep.sweep()
    assert [ids.index(record.id) for record in await one.listed("space")] == left


async def flush(one, clock) -> None:
    await flush_usage(one.memory.usage, one.store, now=clock(), seconds=5)


async def test_idleness_counts_from_creation_for_records_older_than_the_rule(make, clock):
    before = make()
    await before.put("space", *[f"tea {number}" for number in range(256)])
    await before.put("space", *[f"tea {number}" for number in range(256)])
    clock.advance(100)
    await before.put("space", "new")
    one = make(forget=ForgetConfig(max_idle_seconds=50))
    await one.upkeep.sweep()
    assert [record.content.text for record in await one.listed("space")] == ["new"]


async def test_rules_apply_to_every_space(make):
    one = make(forget=ForgetConfig(keep_newest=1))
    for number in range(250):
        await one.put(f"space{number}", "old", "new")
    await one.upkeep.sweep()
    totals, _ = await one.upkeep.totals()
    assert (totals.records, totals.spaces) == (250, 250)


async def test_one_replica_at_a_time_does_a_round(make):
    one, two = make(), make()
    assert [await one.upkeep._my_turn(), await two.upkeep._my_turn(), await one.upkeep._my_turn()] == [
        True,
        False,
        False,
    ]


async def test_after_forgetting_the_files_of_redis_are_rewritten_without_the_text(tmp_path, clock):
    process = RedisProcess(tmp_path)
    process.start()
    connection = RedisConnection(host="127.0.0.1", port=process.port, password_file=process.password_file)
    one = replica(connection, clock)
    try:
        secret, _ = await one.put("space", SECRET, "tea")
        await one.memory.forget("space", [secret], deadline=one.deadline)
        assert SECRET.encode() in process.files()
        await one.upkeep.sweep()
        assert SECRET.encode() not in process.files()
        assert b"tea" in process.files()
        # Nothing more was forgotten, so nothing is rewritten again.
        before = process.log.count("Background append only file rewriting started")
        await connection.command("DEL", "innervate:memory:rewrite", deadline=one.deadline)
        await one.upkeep.sweep()
        assert process.log.count("Background append only file rewriting started") == before == 1
    finally:
        await one.close()
        await connection.close()
        process.stop()


async def test_a_round_that_fails_is_followed_by_another(tmp_path, clock):
    process = RedisProcess(tmp_path)
    process.start()
    connection = RedisConnection(host="127.0.0.1", port=process.port, password_file=process.password_file)
    one = replica(connection, clock, durability=Durability.ALWAYS)
    one.upkeep._period = 0.05
    rounds = asyncio.create_task(one.upkeep.run())
    try:
        await eventually(lambda: one.upkeep.problem() is None)
        process.kill()
        process.start()
        await one.put("space", Content(text="tea", ttl=1))
        clock.advance(1)
        await eventually(lambda: b"rewrite" in process.files())
        assert one.upkeep.problem() is None
    finally:
        rounds.cancel()
        await asyncio.gather(rounds, return_exceptions=True)
        await one.close()
        await connection.close()
        process.stop()
