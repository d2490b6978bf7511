"""Recall across replicas: every search sees every acknowledged write, whatever happened to the log."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from innervate_memory.connection import RedisConnection
from innervate_memory.index import SpaceIndex
from innervate_memory.records import Content, Filter, Kind
from innervate_memory.retrieval import rank
from innervate_memory.store import space_key
from innervate_service.errors import Unavailable
from memory_core import replica


async def as_if_built_now(one, space: str, query: str) -> list[str]:
    """Rank with an index made at once from what the store holds."""
    index = SpaceIndex()
    for record in await one.listed(space):
        index.put(record)
    return [hit.id for hit in rank(index, query, chosen=Filter(), as_of=0, limit=100)]


async def test_a_write_through_one_replica_is_found_by_all_others_at_once(make):
    one, two, three = make(), make(), make()
    for number in range(20):
        (tea,) = await one.put("space", f"tea number {number}")
        for other in (two, three, one):
            assert tea in await other.found("space", f"number {number}")


async def test_writers_and_readers_at_once_read_their_own_writes(make):
    replicas = [make(), make(), make()]

    async def work(worker: int) -> None:
        for step in range(15):
            (tea,) = await replicas[worker % 3].put("space", f"worker{worker} step{step}")
            assert tea in await replicas[(worker + step) % 3].found("space", f"worker{worker} step{step}")

    await asyncio.gather(*(work(worker) for worker in range(9)))
    for each in replicas:
        assert len(await each.found("space", " ".join(f"worker{w}" for w in range(9)), limit=100)) == 100
        assert await each.found("space", "worker3") == await as_if_built_now(each, "space", "worker3")


async def test_forgotten_and_superseded_records_leave_every_replica(make):
    one, two = make(), make()
    ids = await one.put("space", "green tea", "black tea", "white tea")
    assert set(await two.found("space", "tea")) == set(ids)
    await one.memory.forget("space", ids[:1], deadline=one.deadline)
    newer = await one.memory.supersede("space", ids[1], Content(text="red tea"), deadline=one.deadline)
    assert set(await two.found("space", "tea")) == {ids[2], newer.id}
    assert await two.found("space", "green") == []
    await one.memory.forget_everything("space", deadline=one.deadline)
    assert await two.found("space", "tea") == []
    (again,) = await one.put("space", "tea again")
    assert await two.found("space", "tea") == [again]


async def test_expired_records_are_not_found_even_before_they_are_purged(make, clock):
    one = make()
    (short, long) = await one.put("space", Content(text="tea", ttl=10_000_000), Content(text="tea", ttl=0))
    assert await one.found("space", "tea") == [short, long]
    clock.advance(10)
    assert await one.found("space", "tea") == [long]
    assert await one.memory.get("space", [short], deadline=one.deadline) == [None]
    assert [record.id for record in await one.listed("space")] == [long]
    assert await make().found("space", "tea") == [long]


async def test_a_replica_behind_the_trimmed_log_reads_the_records_anew(make):
    one, two = make(log_length=1), make(log_length=1)
    await one.put("space", "tea first")
    await two.found("space", "tea")
    for number in range(400):
        await one.put("space", f"tea {number}")
    log = await one.store.connection.command("XLEN", space_key("space", "log"), deadline=one.deadline)
    assert log < 300  # Redis trims whole nodes of its stream
    assert await two.found("space", "tea 399") == await as_if_built_now(two, "space", "tea 399")


async def test_a_log_that_lost_its_end_is_noticed(make):
    """As after a crash of Redis with durability EverySecond: entries the replica has read are gone."""
    one, two = make(), make()
    (kept,) = await one.put("space", "tea kept")
    dump = await one.store.connection.command("DUMP", space_key("space", "log"), deadline=one.deadline)
    (lost,) = await one.put("space", "tea lost")
    assert set(await two.found("space", "tea")) == {kept, lost}
    await one.memory.forget("space", [lost], deadline=one.deadline)
    restore = ["RESTORE", space_key("space", "log"), 0, dump, "REPLACE"]
    await one.store.connection.command(*restore, deadline=one.deadline)
    (later,) = await one.put("space", "tea later")
    assert set(await two.found("space", "tea")) == {kept, later}
    assert len(two.recall._spaces["space"].index) == 2


async def test_only_so_many_spaces_stay_in_memory(make):
    one = make(max_spaces=3)
    for number in range(10):
        await one.put(f"space{number}", "tea")
        assert len(await one.found(f"space{number}", "tea")) == 1
    assert list(one.recall._spaces) == ["space7", "space8", "space9"]
    assert len(await one.found("space0", "tea")) == 1


async def test_only_so_many_records_stay_in_memory(make):
    one = make(indexed_records=10)
    for space, number in (("a", 6), ("b", 6), ("c", 20)):
        await one.put(space, *["tea"] * number)
        assert len(await one.found(space, "tea")) == number
    assert list(one.recall._spaces) == ["c"]


async def test_a_search_given_up_by_its_caller_does_no_harm(make):
    one = make()
    ids = await one.put("space", *[f"tea {number}" for number in range(200)])
    for wait in (0.0, 0.0005, 0.001, 0.002, 0.004, 0.008):
        task = asyncio.create_task(one.found("space", "tea"))
        await asyncio.sleep(wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.put("space", "tea more")
    assert set(ids[:50]) <= set(await one.found("space", "tea"))


async def test_a_build_longer_than_the_deadline_goes_on_for_the_next_search(make):
    one = make()
    for _ in range(8):
        await one.put("space", *[f"tea {number}" for number in range(256)])
    async with one.recall._builds, one.recall._builds:  # as if other spaces were being read
        soon = asyncio.get_running_loop().time() + 0.05
        with pytest.raises(Unavailable, match="reading goes on, try again"):
            await one.memory.search("space", "tea", chosen=Filter(), as_of=None, limit=5, deadline=soon)
    await asyncio.gather(*one.recall._running)
    assert len(one.recall._spaces["space"].index) == 8 * 256
    assert len(await one.found("space", "tea")) == 100


async def test_filters_reach_the_search(make):
    one = make()
    fact, turn = await one.put(
        "space", Content(text="tea", kind=Kind.FACT), Content(text="tea", kind=Kind.TURN, user_id="u")
    )
    assert await one.found("space", "tea", chosen=Filter(kinds=frozenset({Kind.FACT}))) == [fact]
    assert await one.found("space", "tea", chosen=Filter(user_id="u")) == [turn]


async def test_as_of_asks_about_another_time(make, clock):
    one = make()
    then = clock.now - 100
    old, new = await one.put(
        "space",
        Content(text="lives in Rome", valid_until=then),
        Content(text="lives in Oslo", valid_from=then),
    )
    assert await one.found("space", "lives") == [new]
    assert await one.found("space", "lives", as_of=then - 1) == [old]


class SteppedClock:
    now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(["tea", "tea cat", "cat"]), st.sampled_from([None, 3])),
        st.tuples(st.sampled_from(["forget", "supersede"]), st.integers(0, 20)),
        st.tuples(st.sampled_from(["search", "tick", "sweep", "everything", "trim"])),
    ),
    max_size=25,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_after_any_history_every_replica_finds_what_the_store_holds(redis_process, history):
    async def story() -> None:
        connection = RedisConnection(
            host="127.0.0.1", port=redis_process.port, password_file=redis_process.password_file
        )
        clock = SteppedClock()
        replicas = [replica(connection, clock), replica(connection, clock)]
        one, two = replicas
        await connection.command("FLUSHALL", deadline=one.deadline)
        ids: list[str] = []
        for number, step in enumerate(history):
            each = replicas[number % 2]
            match step:
                case ("put", text, ttl):
                    ids += await each.put("s", Content(text=text, ttl=ttl and ttl * 1_000_000))
                case ("forget", victim) if victim < len(ids):
                    await each.memory.forget("s", [ids[victim]], deadline=one.deadline)
                case ("supersede", victim) if victim < len(ids):
                    old = (await each.memory.get("s", [ids[victim]], deadline=one.deadline))[0]
                    if old is not None and not old.superseded_by:
                        newer = Content(text="newer tea")
                        done = await each.memory.supersede("s", old.id, newer, deadline=one.deadline)
                        ids.append(done.id)
                case ("search",):
                    await each.found("s", "tea cat")
                case ("tick",):
                    clock.now += 1_000_000
                case ("sweep",):
                    await each.upkeep.sweep()
                case ("everything",):
                    await each.memory.forget_everything("s", deadline=one.deadline)
                case ("trim",):
                    key = space_key("s", "log")
                    await connection.command("XTRIM", key, "MAXLEN", 1, deadline=one.deadline)
        fresh = replica(connection, clock)
        expected = await as_if_built_now(fresh, "s", "tea cat")
        for each in (one, two, fresh):
            assert await each.found("s", "tea cat") == expected
            assert len(each.recall._spaces["s"].index) == len(await fresh.listed("s"))
        everything = await fresh.listed("s", superseded=True)
        await fresh.upkeep.sweep()
        totals = await fresh.store.totals("s", deadline=one.deadline)
        assert totals.records == len(everything)
        whole, _ = await fresh.upkeep.totals()
        assert whole.records == len(everything)
        for each in (one, two, fresh):
            await each.close()
        await connection.close()

    asyncio.run(story())
