"""What a status says when a room cannot, and what of it may wait."""

from __future__ import annotations

from datetime import UTC, datetime

from innervate_kinds.api import conditions
from innervate_kinds.api.resource import Status
from innervate_operator import status
from innervate_operator.events import transitions

NOW = datetime(2026, 11, 21, 12, 0, 0, 999, tzinfo=UTC)
EARLIER = "2026-11-21T11:00:00Z"


def resource(*known, **fields):
    return {"metadata": {"name": "g", "generation": 2}, "status": {"conditions": list(known), **fields}}


def condition(type_, value, reason="Because"):
    return {
        "type": type_,
        "status": value,
        "reason": reason,
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": EARLIER,
    }


def by_type(content):
    return {each["type"]: each for each in content["conditions"]}


def trouble(raw, *, stalled):
    return status.troubled(
        raw,
        "Odd",
        "it is odd",
        summary="Ready",
        stalled=stalled,
        now=NOW,
        trace={"generation": 2, "traceparent": "00-a-b-01"},
    )


def test_a_transition_time_moves_only_when_the_status_flips():
    told = Status(conditions=(conditions.true("Ready", "Done"), conditions.true("Accepted", "Valid")))
    raw = resource(condition("Ready", "True", "Old"), condition("Accepted", "False"))
    found = by_type(status.stamped(told, raw, NOW, None))
    assert found["Ready"]["lastTransitionTime"] == EARLIER
    assert found["Ready"]["reason"] == "Done"
    assert found["Accepted"]["lastTransitionTime"] == "2026-11-21T12:00:00Z"
    assert {each["observedGeneration"] for each in found.values()} == {2}


def test_the_trace_changes_only_with_the_generation_and_the_chapter():
    told = Status(conditions=())
    kept = {"generation": 2, "traceparent": "00-first"}
    later = {"generation": 2, "traceparent": "00-later"}
    assert status.stamped(told, resource(trace=kept), NOW, later)["trace"] == kept
    assert status.stamped(told, resource(trace=kept), NOW, None)["trace"] == kept
    older = {"generation": 1, "traceparent": "00-first"}
    assert status.stamped(told, resource(trace=older), NOW, later)["trace"] == later
    assert "trace" not in status.stamped(told, resource(trace=older), NOW, None)
    step = {**later, "chapter": "Canary"}
    assert status.stamped(told, resource(trace=kept), NOW, step)["trace"] == step
    assert status.stamped(told, resource(trace=step), NOW, {**step, "traceparent": "x"})["trace"] == step
    assert status.stamped(told, resource(trace=step), NOW, None)["trace"] == step


def test_rejected_is_stalled_and_keeps_what_else_was_known():
    found = by_type(
        trouble(resource(condition("Ready", "True"), condition("StorageReady", "True")), stalled=True)
    )
    assert {name: each["status"] for name, each in found.items()} == {
        "Ready": "False",
        "Accepted": "False",
        "Stalled": "True",
        "Reconciling": "False",
        "StorageReady": "True",
    }
    assert found["Ready"]["message"] == "it is odd"


def test_retryable_leaves_a_known_summary_alone_and_says_unknown_at_first():
    known = by_type(
        trouble(resource(condition("Ready", "True"), condition("Stalled", "True")), stalled=False)
    )
    assert (known["Ready"]["status"], known["Ready"]["reason"]) == ("True", "Because")
    assert known["Reconciling"]["status"] == "True"
    assert known["Stalled"]["status"] == "False"
    assert by_type(trouble(resource(), stalled=False))["Ready"]["status"] == "Unknown"


def test_the_same_trouble_gives_the_same_status_so_that_nothing_is_written():
    raw = resource(endpoint="grpcs://x")
    raw["status"] = trouble(raw, stalled=True)
    assert raw["status"]["endpoint"] == "grpcs://x"
    assert trouble(raw, stalled=True) == raw["status"]


def test_a_pause_is_said_once_and_changes_nothing_else():
    raw = resource(condition("Ready", "True"))
    first = status.paused(raw, NOW)
    assert by_type(first)["Paused"]["status"] == "True"
    assert by_type(first)["Ready"]["observedGeneration"] == 1
    assert status.paused({**raw, "status": first}, NOW) == first


def test_messages_and_counts_may_wait_verdicts_and_addresses_may_not():
    content = status.stamped(
        Status(conditions=(conditions.true("Ready", "A", "1 of 2"),)), resource(), NOW, None
    )
    counted = {**content, "records": 7}
    assert status.telling(content) == status.telling(counted)
    assert status.telling(content) != status.telling({**content, "endpoint": "grpcs://x"})
    worse = Status(conditions=(conditions.false("Ready", "A", "1 of 2"),))
    assert status.telling(content) != status.telling(status.stamped(worse, resource(), NOW, None))


def test_an_unreadable_condition_of_somebody_else_does_no_harm():
    raw = resource({"type": "Odd"}, condition("Ready", "True"))
    assert [each.type for each in status.previous_conditions(raw)] == ["Ready"]


def test_events_tell_transitions_only_in_the_past_tense():
    def told(before, after):
        return [event.reason for event in transitions(before, after)]

    ready, unready = condition("Ready", "True"), condition("Ready", "False")
    assert told([], [condition("Ready", "Unknown")]) == []
    assert told([], [ready]) == ["BecameReady"]
    assert told([ready], [ready]) == []
    assert told([ready], [{**ready, "message": "another"}]) == []
    assert told([ready], [unready]) == ["LostReady"]
    assert told([], [unready]) == []
    assert told([], [condition("Stalled", "True")]) == ["Stalled"]
    assert told([condition("Stalled", "True")], [condition("Stalled", "False")]) == ["Resumed"]
    assert told([], [condition("Succeeded", "False")]) == ["Failed"]
    (event,) = transitions([ready], [{**unready, "message": "a pod died"}])
    assert event.note == "Ceased to be ready, Because: a pod died"
