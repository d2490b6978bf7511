"""Arms and engines: even, sticky, and growing candidates keep their sessions."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from innervate_gateway.choice import choose_arm, choose_endpoint, lay_out, position, salt_of
from innervate_gateway.endpoints import Endpoint
from innervate_gateway.pool import Arm, Replica, label_value
from innervate_kinds.api import names

weights = st.integers(0, 100)
sessions = st.text(min_size=1, max_size=40)


def arms(weight: int, *, first: bool = False) -> list[Arm]:
    pair = [Arm("stable-7", "a", 100 - weight, "Stable"), Arm("candidate-7", "b", weight, "Candidate")]
    return pair[::-1] if first else pair


def arm_of(chosen: list[Arm], session: str) -> str:
    return choose_arm(lay_out(chosen), position(salt_of(chosen), session)).name


@given(sessions, weights, weights)
def test_a_growing_candidate_keeps_its_sessions(session, one, other):
    low, high = sorted((one, other))
    if arm_of(arms(low), session) == "candidate-7":
        assert arm_of(arms(high), session) == "candidate-7"
    else:
        assert arm_of(arms(low), session) == "stable-7"


@given(sessions, weights)
def test_the_order_in_which_arms_are_declared_changes_nothing(session, weight):
    assert arm_of(arms(weight), session) == arm_of(arms(weight, first=True), session)


@given(sessions)
def test_no_weight_means_no_session(session):
    assert arm_of(arms(0), session) == "stable-7"
    assert arm_of(arms(100), session) == "candidate-7"


@given(st.lists(weights, min_size=1, max_size=6), st.floats(0, 100, exclude_max=True))
def test_every_place_belongs_to_an_arm_that_has_weight(numbers, place):
    total = sum(numbers)
    if total:
        chosen = [Arm(f"a{n}", "r", number, "Candidate") for n, number in enumerate(numbers)]
        arm = choose_arm(lay_out(chosen), place * total / 100)
        assert arm.weight > 0


@pytest.mark.parametrize("weight", [1, 10, 50, 93])
def test_shares_are_as_declared(weight):
    chosen = arms(weight)
    hits = sum(arm_of(chosen, f"session {n}") == "candidate-7" for n in range(20_000))
    # Five standard deviations.
    spread = 5 * (20_000 * weight / 100 * (1 - weight / 100)) ** 0.5
    assert abs(hits - 200 * weight) < spread


def test_another_rollout_meets_other_sessions():
    later = [Arm("stable-8", "a", 90, "Stable"), Arm("candidate-8", "c", 10, "Candidate")]
    first = {n for n in range(5000) if arm_of(arms(10), str(n)) == "candidate-7"}
    second = {n for n in range(5000) if arm_of(later, str(n)) == "candidate-8"}
    assert 0 < len(first & second) < 150


def endpoint(slots: int = 4, in_flight: int = 0, ejected: float = 0) -> Endpoint:
    made = Endpoint(
        Replica("cpu", "a", "127.0.0.1", 1, False, "", None, slots, ""),
        key=lambda: "",
        connect_seconds=1,
    )
    made.in_flight, made.ejected_until = in_flight, ejected
    return made


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=1, max_size=8))
def test_the_least_loaded_is_chosen(shapes):
    endpoints = [endpoint(slots, flying) for slots, flying in shapes]
    chosen = choose_endpoint(endpoints, 0)
    assert chosen.in_flight / chosen.slots == min(e.in_flight / e.slots for e in endpoints)


def test_equals_share():
    random.seed(7)
    endpoints = [endpoint() for _ in range(4)]
    chosen = [choose_endpoint(endpoints, 0) for _ in range(400)]
    assert all(chosen.count(each) > 50 for each in endpoints)


def test_the_ejected_and_the_tried_are_passed_over_while_there_are_others():
    busy, ejected, later = endpoint(in_flight=3), endpoint(ejected=5), endpoint(ejected=9)
    assert choose_endpoint([busy, ejected, later], 1) is busy
    assert choose_endpoint([busy, ejected, later], 1, tried=[busy]) is ejected
    assert choose_endpoint([busy, ejected, later], 6) is ejected
    assert choose_endpoint([busy], 1, tried=[busy]) is None


def test_failures_in_a_row_keep_an_engine_out_longer():
    one = endpoint()
    waits = []
    for _ in range(10):
        one.failed(100)
        waits.append(one.ejected_until - 100)
    assert waits[:4] == [0.5, 1, 2, 4]
    assert waits[-1] == 30
    one.succeeded()
    one.failed(100)
    assert one.ejected_until == 100.5


def test_an_engines_time_is_shared_among_those_at_once():
    one = endpoint()
    first = one.begin(0)
    second = one.begin(10)
    assert one.end(first, 20) == 10 + 5
    assert one.end(second, 30) == 5 + 10
    third = one.begin(50)
    assert one.end(third, 51) == 1


@given(st.text(max_size=100))
def test_labels_are_the_operators(text):
    assert label_value(text) == names.label_value(text)
