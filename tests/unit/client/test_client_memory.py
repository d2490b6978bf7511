"""The blocking client against a real memory service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from innervate import Conflict, Filter, InvalidArgument, MemoryClient, NewRecord, PermissionDenied, RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable

    Connect = Callable[..., MemoryClient]


def test_what_is_put_is_recalled(connect: Connect) -> None:
    client = connect()
    put = client.put("Mira waters the orchids with rain from the tank.")
    client.put("The inspector comes on Thursday.")
    hits = client.search("Which water do the orchids get?")
    assert put.created
    assert hits[0].record.id == put.id
    assert hits[0].score >= hits[-1].score


def test_every_field_survives_the_round_trip(connect: Connect) -> None:
    client = connect()
    start = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    given = NewRecord(
        text="Öl – 油 – 🛢",
        kind=RecordKind.FACT,
        key="oil",
        user_id="mira",
        agent_id="gardener",
        session_id="monday",
        metadata={"hall": "3"},
        valid_from=start,
        valid_until=start + timedelta(days=1),
        source="https://example.org/oil",
        ttl=timedelta(days=2),
    )
    result = client.put(given)
    (record,) = client.get([result.id]).records
    kept = {name: getattr(record, name) for name in NewRecord.__dataclass_fields__ if name != "ttl"}
    assert kept == {name: getattr(given, name) for name in kept}
    assert record.create_time is not None
    assert record.expire_time == record.create_time + timedelta(days=2)


def test_the_same_key_is_stored_once(connect: Connect) -> None:
    client = connect()
    record = NewRecord(text="once", key="k")
    first, second = client.put(record), client.put(record)
    assert (first.created, second.created) == (True, False)
    assert first.id == second.id
    with pytest.raises(Conflict):
        client.put(NewRecord(text="something else", key="k"))


def test_records_without_a_key_are_all_stored(connect: Connect) -> None:
    client = connect()
    results = client.put_all(["the same"] * 3)
    assert len({result.id for result in results}) == 3


def test_many_records_go_in_batches_and_come_back_in_pages(connect: Connect) -> None:
    client = connect()
    texts = [f"entry {number}" for number in range(600)]
    assert len(client.put_all(texts)) == 600
    assert [record.text for record in client.list(page_size=70)] == texts
    assert [record.text for record in islice(client.list(page_size=10), 15)] == texts[:15]


def test_large_records_are_split_below_the_message_limit(connect: Connect) -> None:
    client = connect()
    texts = [f"{number} " + "x" * 60_000 for number in range(100)]
    assert len(client.put_all(texts)) == 100


def test_lists_are_filtered(connect: Connect) -> None:
    client = connect()
    client.put(NewRecord(text="a", session_id="one", metadata={"hall": "3"}))
    client.put(NewRecord(text="b", session_id="two", metadata={"hall": "4"}))
    assert [record.text for record in client.list(matching=Filter(session_id="two"))] == ["b"]
    assert [record.text for record in client.list(matching=Filter(metadata={"hall": "3"}))] == ["a"]


def test_supersede_keeps_the_old_record_readable(connect: Connect) -> None:
    client = connect()
    old = client.put("The sensor hangs over the door.")
    new = client.supersede(old.id, "The sensor hangs under the gutter.")
    (before,) = client.get([old.id]).records
    assert before.superseded_by == new.id
    assert [hit.record.id for hit in client.search("Where does the sensor hang?")] == [new.id]
    assert [record.id for record in client.list()] == [new.id]
    assert [record.id for record in client.list(include_superseded=True)] == [old.id, new.id]


def test_forget_by_id_by_filter_and_everything(connect: Connect) -> None:
    client = connect()
    first, *_ = client.put_all([NewRecord(text=str(n), session_id="s" if n < 3 else "t") for n in range(6)])
    assert client.forget([first.id]) == 1
    assert client.get([first.id]).missing == (first.id,)
    assert client.forget(matching=Filter(session_id="s")) == 2
    assert client.forget(everything=True) == 3
    assert list(client.list()) == []


@pytest.mark.parametrize("arguments", [{}, {"ids": ["x"], "everything": True}, {"matching": Filter()}])
def test_forget_refuses_to_guess(connect: Connect, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        connect("nobody").forget(**arguments)


def test_stats_count_a_space(connect: Connect) -> None:
    account = "counted"
    client = connect(account)
    client.put_all(["a", "b"])
    stats = client.stats(space=account)
    assert (stats.records, stats.durability) == (2, "Always")


def test_a_foreign_space_is_refused_by_name(connect: Connect) -> None:
    with pytest.raises(PermissionDenied, match="stranger") as refused:
        connect("stranger").search("anything", space="secrets-of-others")
    assert refused.value.retry_after is None


def test_a_wrong_field_is_named(connect: Connect) -> None:
    with pytest.raises(InvalidArgument) as refused:
        connect().put_all(["fine", ""])
    assert refused.value.field == "records[1].text"


def test_a_time_without_zone_is_named(connect: Connect) -> None:
    with pytest.raises(InvalidArgument, match="no time zone") as refused:
        connect().put(NewRecord(text="x", valid_from=datetime(2026, 1, 1)))  # noqa: DTZ001 - that is the test
    assert refused.value.field == "records[0].valid_from"
