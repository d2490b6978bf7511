"""Putting: all or none, once for each key, and only as many as allowed."""

import asyncio

import pytest
from innervate_memory.records import Content, Filter, id_time
from innervate_memory.store import space_key
from innervate_service.errors import AlreadyExists, FailedPrecondition, InvalidArgument


async def test_a_record_comes_back_as_it_was_put(make, clock):
    one = make()
    content = Content(
        text="Ünïcode \u0000 and\nlines 猫",
        key="k/1",
        kind=2,
        user_id="u",
        agent_id="a",
        session_id="s",
        metadata={"colour": "blue"},
        valid_from=-5,
        valid_until=2**53,
        source="https://example.org",
        ttl=60_000_000,
    )
    (record_id,) = await one.put("space", content)
    (record,) = await one.memory.get("space", [record_id], deadline=one.deadline)
    assert record.content == content
    assert record.create_time == clock.now // 1000 * 1000 == id_time(record_id)
    assert record.expire_time == record.create_time + 60_000_000


async def test_the_same_key_with_the_same_content_is_stored_once(make):
    one = make()
    first = await one.memory.put("space", [Content(text="tea", key="k")], deadline=one.deadline)
    again = await one.memory.put("space", [Content(text="tea", key="k")], deadline=one.deadline)
    assert (first[0].created, again[0].created) == (True, False)
    assert again[0].id == first[0].id
    assert len(await one.listed("space")) == 1


async def test_the_same_key_with_other_content_refuses_the_whole_batch(make):
    one = make()
    await one.put("space", Content(text="tea", key="k"))
    with pytest.raises(AlreadyExists, match="'k'"):
        await one.put("space", "before", Content(text="coffee", key="k"), "after")
    assert [record.content.text for record in await one.listed("space")] == ["tea"]


async def test_a_key_belongs_to_one_space(make):
    one = make()
    await one.put("a", Content(text="tea", key="k"))
    await one.put("b", Content(text="coffee", key="k"))
    assert [record.content.text for record in await one.listed("b")] == ["coffee"]


async def test_one_key_put_by_many_at_once_makes_one_record(make):
    replicas = [make(), make()]
    stored = await asyncio.gather(
        *(
            replicas[i % 2].memory.put("space", [Content(text="tea", key="k")], deadline=replicas[0].deadline)
            for i in range(40)
        )
    )
    assert sum(result[0].created for result in stored) == 1
    assert len({result[0].id for result in stored}) == 1


async def test_a_key_twice_in_a_batch_is_refused(make):
    one = make()
    with pytest.raises(InvalidArgument, match=r"records\[2\].key.*records\[0\]"):
        await one.put("s", Content(text="a", key="k"), "b", Content(text="a", key="k"))


async def test_a_full_space_refuses_the_batch_and_says_what_to_do(make):
    one = make(max_records=3)
    await one.put("space", "a", "b")
    with pytest.raises(FailedPrecondition, match=r"'space' holds 2 records and 3 are allowed"):
        await one.put("space", "c", "d")
    await one.put("space", "c")
    await one.put("other", "c")
    assert len(await one.listed("space")) == 3


async def test_a_repeated_key_does_not_count_against_the_limit(make):
    one = make(max_records=1)
    await one.put("space", Content(text="a", key="k"))
    await one.put("space", Content(text="a", key="k"))


async def test_a_write_repeated_after_a_lost_answer_changes_nothing(make, clock):
    one = make()
    record = one.memory._record(Content(text="tea", key="k"))
    plain = one.memory._record(Content(text="no key"))
    for _ in range(2):
        stored = await one.store.put("space", [record, plain], change="C", now=clock(), deadline=one.deadline)
        assert [(result.id, result.created) for result in stored] == [(record.id, True), (plain.id, True)]
    totals = await one.store.totals("space", deadline=one.deadline)
    assert totals.records == len(await one.listed("space")) == 2
    assert await one.store.connection.command("XLEN", space_key("space", "log"), deadline=one.deadline) == 1


async def test_space_names_cannot_reach_each_other(make):
    one = make()
    names = ["a", "a:records", "a/b", "*", "a*", "\u00e9", "e\u0301", "A", "a\\", "{a}", " a"]
    for name in names:
        await one.put(name, f"text of {name!r}")
    for name in names:
        assert [record.content.text for record in await one.listed(name)] == [f"text of {name!r}"]
        assert await one.memory.forget_everything(name, deadline=one.deadline) == 1
    deadline = one.deadline
    left = await one.store.connection.command("KEYS", "*space*", deadline=deadline)
    assert left == []


async def test_lists_go_page_by_page_in_the_order_put(make, clock):
    one, two = make(), make()
    texts = [f"text {i}" for i in range(300)]
    for start in range(0, 300, 50):
        clock.advance(-1 if start % 100 else 3)  # clocks of replicas are never quite alike
        await (one, two)[start % 100 // 50].put("space", *texts[start : start + 50])
    for size in (7, 128, 300, 1000):
        assert [record.content.text for record in await one.listed("space", size=size)] == texts
    page = await one.memory.page(
        "space", chosen=Filter(), size=7, token="", superseded=False, deadline=one.deadline
    )
    assert len(page.records) == 7


async def test_a_made_up_page_token_is_refused(make):
    one = make()
    for token in ("x", "-1", "1e3", "١", "9" * 17):
        with pytest.raises(InvalidArgument, match="page_token"):
            await one.listed("space", token=token)
