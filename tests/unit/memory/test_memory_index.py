"""The index: scores as bm25s computes them, and the same after any history as when built at once."""

import math
import random

import bm25s
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from innervate_memory.index import SpaceIndex
from innervate_memory.records import Content, Filter, Kind, Record
from innervate_memory.retrieval import rank
from innervate_memory.tokens import tokenise

WORDS = ["tea", "cat", "moon", "river", "stone", "red", "猫", "run", "running", "Ünder"]


def record(number: int, text: str, **content) -> Record:
    expire = content.pop("expire", None)
    return Record(
        id=f"{number:026d}", content=Content(text=text, **content), create_time=0, expire_time=expire
    )


def corpus(seed: int) -> list[Record]:
    rng = random.Random(seed)
    size = rng.randint(1, 60)
    vocabulary = [f"w{i}" for i in range(rng.randint(2, 40))]
    return [
        record(
            number,
            " ".join(rng.choices(vocabulary, k=rng.randint(1, 30))),
            session_id=rng.choice(["", "s1", "s2", "s3"]),
        )
        for number in range(size)
    ]


def reference(documents: list[str], query: str) -> np.ndarray:
    """Scores of bm25s over documents tokenised alike."""
    engine = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    engine.index([tokenise(document) for document in documents], show_progress=False)
    return engine.get_scores([term for term in tokenise(query) if term in engine.vocab_dict])


@pytest.mark.parametrize("seed", range(40))
def test_scores_are_those_of_bm25s_over_turns_and_over_sessions(seed):
    records = corpus(seed)
    index = SpaceIndex()
    for each in records:
        index.put(each)
    sessions: dict[str, list[str]] = {}
    for each in records:
        sessions.setdefault(each.content.session_id or each.id, []).append(each.content.text)
    query = " ".join(random.Random(seed + 1000).choices([f"w{i}" for i in range(45)], k=6))
    query += " " + records[0].content.text.split()[0]  # at least one term is there
    scores = index.scores(query)
    turns = reference([each.content.text for each in records], query)
    assert np.allclose(scores.turn, turns, rtol=1e-4, atol=1e-5)
    whole = reference(["\n".join(texts) for texts in sessions.values()], query)
    assert np.allclose(scores.session, whole, rtol=1e-4, atol=1e-5)
    assert scores.turn.max() > 0


def test_the_fused_score_is_the_sum_of_both_z_scores_over_sessions():
    index = SpaceIndex()
    texts = [("s1", "tea cat"), ("s1", "tea tea"), ("s2", "moon cat river"), ("s3", "stone")]
    for number, (session, text) in enumerate(texts):
        index.put(record(number, text, session_id=session))
    scores = index.scores("tea cat")
    best = np.array([scores.turn[:2].max(), scores.turn[2], scores.turn[3]])
    for hit in rank(index, "tea cat", chosen=Filter(), as_of=0, limit=10):
        row = int(hit.id)
        session = (0, 0, 1, 2)[row]
        turn = (scores.turn[row] - best.mean()) / best.std()
        whole = (scores.session[session] - scores.session.mean()) / scores.session.std()
        assert math.isclose(hit.turn_score, turn, rel_tol=1e-9, abs_tol=1e-9)
        assert math.isclose(hit.session_score, whole, rel_tol=1e-9, abs_tol=1e-9)
        assert math.isclose(hit.score, turn + whole, rel_tol=1e-6, abs_tol=1e-8)


def test_a_record_that_shares_nothing_with_the_query_is_not_found():
    index = SpaceIndex()
    index.put(record(1, "tea"))
    index.put(record(2, "coffee"))
    assert [hit.id for hit in rank(index, "tea", chosen=Filter(), as_of=0, limit=9)] == [record(1, "").id]
    assert rank(index, "water", chosen=Filter(), as_of=0, limit=9) == []
    assert rank(index, "?!", chosen=Filter(), as_of=0, limit=9) == []
    assert rank(SpaceIndex(), "tea", chosen=Filter(), as_of=0, limit=9) == []


def test_ties_go_by_id_also_at_the_limit():
    index = SpaceIndex()
    for number in (5, 3, 9, 1, 7):
        index.put(record(number, "tea"))
    for limit in range(1, 6):
        ids = [int(hit.id) for hit in rank(index, "tea", chosen=Filter(), as_of=0, limit=limit)]
        assert ids == [1, 3, 5, 7, 9][:limit]


def test_filters_and_validity_restrict_what_is_found():
    index = SpaceIndex()
    index.put(record(1, "tea", kind=Kind.FACT, user_id="u", metadata={"a": "1", "b": "2"}))
    index.put(
        record(2, "tea", kind=Kind.TURN, user_id="v", agent_id="g", session_id="s", metadata={"a": "1"})
    )
    index.put(record(3, "tea", valid_from=10, valid_until=20))

    def found(as_of=0, **chosen):
        hits = rank(index, "tea", chosen=Filter(**chosen), as_of=as_of, limit=9)
        return [int(hit.id) for hit in hits]

    assert found() == [1, 2]
    assert [found(as_of=time) for time in (9, 10, 19, 20)] == [[1, 2], [1, 2, 3], [1, 2, 3], [1, 2]]
    assert found(kinds=frozenset({Kind.FACT})) == [1]
    assert found(kinds=frozenset({Kind.FACT, Kind.TURN})) == [1, 2]
    assert found(user_id="v") == [2]
    assert found(agent_id="g") == [2]
    assert found(session_id="s") == [2]
    assert found(metadata={"a": "1"}) == [1, 2]
    assert found(metadata={"a": "1", "b": "2"}) == [1]
    assert found(metadata={"a": "2"}) == []
    assert found(user_id="nobody") == []
    assert found(session_id="t") == []


actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("put"),
            st.lists(st.sampled_from(WORDS), min_size=1, max_size=6),
            st.sampled_from(["", "s1", "s2"]),
            st.sampled_from(["u", "v"]),
            st.one_of(st.none(), st.integers(1, 12)),
        ),
        st.tuples(st.just("remove"), st.integers(0, 30)),
        st.tuples(st.just("supersede"), st.integers(0, 30)),
        st.tuples(st.just("tick")),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(actions, st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), st.sampled_from(["", "u"]))
def test_after_any_history_the_index_is_as_if_built_at_once(history, words, user):
    index, records, now = SpaceIndex(), {}, 0
    for number, action in enumerate(history):
        match action:
            case ("put", text, session, owner, ttl):
                each = record(
                    number, " ".join(text), session_id=session, user_id=owner, expire=ttl and now + ttl
                )
                records[number] = each
                index.put(each)
            case ("remove", victim):
                records.pop(victim, None)
                index.remove(record(victim, "").id)
            case ("supersede", victim) if victim in records:
                old = records[victim]
                records[victim] = Record(
                    id=old.id,
                    content=old.content,
                    create_time=0,
                    expire_time=old.expire_time,
                    superseded_by="X",
                )
                index.put(records[victim])
            case _:
                now += 1
                index.expire(now)
    fresh = SpaceIndex()
    for each in records.values():
        fresh.put(each)
    fresh.expire(now)
    live = [each for each in records.values() if not each.superseded_by and not each.expired(now)]
    assert len(index) == len(fresh) == len(live)
    query, chosen = " ".join(words), Filter(user_id=user)
    mine = rank(index, query, chosen=chosen, as_of=0, limit=50)
    theirs = rank(fresh, query, chosen=chosen, as_of=0, limit=50)
    assert [hit.id for hit in mine] == [hit.id for hit in theirs]
    assert np.allclose([hit.score for hit in mine], [hit.score for hit in theirs], atol=1e-8)


def test_removed_records_make_the_index_ask_for_a_rebuild():
    index = SpaceIndex()
    for number in range(2000):
        index.put(record(number, "tea"))
    assert not index.wasteful
    for number in range(1100):
        index.remove(record(number, "").id)
    assert index.wasteful
    assert len(index) == 900
