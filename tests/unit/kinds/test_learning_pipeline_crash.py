"""A pipeline's status is its only memory: whenever the operator dies, the story ends the same."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipeline_world import Crashed, World

if TYPE_CHECKING:
    from collections.abc import Callable

ROLLOUT = {
    "steps": [
        {"percent": 10, "minSeconds": 20, "minUnits": 40, "maxSeconds": 600},
        {"percent": 50, "minSeconds": 20, "minUnits": 100, "maxSeconds": 600},
    ],
    "keepWarmSeconds": 60,
    "readySeconds": 300,
}
GATES = [
    {
        "name": "quality",
        "evalJobTemplate": {
            "dataset": {"configMapRef": {"name": "golden", "key": "g.jsonl"}},
            "scorers": [{"name": "right", "type": "Exact"}],
            "gate": {"metric": "right", "margin": "0.02"},
        },
    }
]
TRAINED = {
    "name": "trained",
    "train": {"data": [{"configMapRef": {"name": "new"}}], "output": {"uri": "pvc://releases"}},
}


def whole_story() -> World:
    """Refused by a gate, rolled back on a detection, trained and promoted."""
    tried = [{"name": f"try-{name}", "releaseRef": {"name": name}} for name in ("bad", "worse")]
    made = World(
        {"candidates": [*tried, TRAINED], "rollout": ROLLOUT, "gates": GATES},
        rates={"a": 0.7, "bad": 0.7, "worse": 0.1},
        verdicts={("bad", "quality"): "Failed"},
    )
    for name in ("bad", "worse"):
        made.release(name)
    return made


def outcome(made: World) -> dict[str, Any]:
    objects = {str(reference): item["spec"] for reference, item in made.objects.items()}
    return {"status": made.status, "objects": objects}


def test_a_crash_at_any_write_leads_to_the_same_end() -> None:
    reference = whole_story()
    reference.run()
    verdicts = [verdict for _, verdict, _ in reference.ended]
    assert verdicts == ["Refused", "RolledBack", "Promoted"]
    assert reference.writes > 30
    for write in range(reference.writes):
        made = whole_story()
        made.crash_at = write
        made.run()
        assert made.crash_at is None
        assert outcome(made) == outcome(reference), f"after a crash before {reference.log[write]}"


Event = tuple[str, Any]
VISIT = st.tuples(st.just("visit"), st.none())
EVENTS = st.one_of(
    # Visits are what happens most: decisions are made in one, acted on in the next.
    *(VISIT, VISIT, VISIT, VISIT, VISIT, VISIT),
    st.tuples(st.just("time"), st.tuples(st.sampled_from([1, 30, 400]), st.sampled_from([0, 50, 2000]))),
    st.tuples(st.just("gateways"), st.booleans()),
    st.tuples(st.just("engines"), st.booleans()),
    st.tuples(st.just("feedback"), st.booleans()),
    st.tuples(st.just("command"), st.sampled_from(["approve", "abort", "rollback"])),
    st.tuples(st.just("verify"), st.tuples(st.sampled_from(["b", "c"]), st.booleans())),
    st.tuples(st.just("candidates"), st.lists(st.sampled_from(["b", "c"]), unique=True, max_size=2)),
    st.tuples(st.just("approval"), st.sampled_from(["Automatic", "Manual"])),
    st.tuples(st.just("crash"), st.integers(0, 3)),
)


def visit(made: World) -> None:
    with contextlib.suppress(Crashed):
        made.visit()


def happen(made: World, number: int, event: Event) -> None:
    kind, value = event
    deeds: dict[str, Callable[[], None]] = {
        "visit": lambda: visit(made),
        "time": lambda: made.pass_time(value[0], requests=value[1]),
        "command": lambda: made.command(f"c{number}", value),
        "verify": lambda: made.verify(value[0], verified=value[1]),
        "candidates": lambda: made.change(
            candidates=[{"name": f"try-{name}", "releaseRef": {"name": name}} for name in value]
        ),
        "approval": lambda: made.change(approval=value),
        "crash": lambda: setattr(made, "crash_at", made.writes + value),
    }
    if kind in deeds:
        deeds[kind]()
    else:
        setattr(made, kind, value)


@settings(max_examples=60)
@given(
    st.lists(EVENTS, max_size=45),
    st.tuples(st.sampled_from([0.2, 0.8, 0.95]), st.sampled_from([0.2, 0.8, 0.95])),
)
def test_whatever_happens_what_must_hold_holds_and_it_comes_to_an_end(
    events: list[Event], rates: tuple[float, float]
) -> None:
    """The world checks every traffic as it is written: see `pipeline_world`."""
    made = World(
        {
            "candidates": [{"name": f"try-{name}", "releaseRef": {"name": name}} for name in "bc"],
            "rollout": ROLLOUT,
            "gates": GATES,
        },
        rates={"a": 0.8, "b": rates[0], "c": rates[1]},
    )
    for name in "bc":
        made.release(name)
    for number, event in enumerate(events):
        happen(made, number, event)
    made.gateways = made.engines = made.feedback = True
    made.change(approval="Automatic")
    for name in "bc":
        made.verify(name)
    if made.step == "AwaitingApproval":
        made.command("last", "approve")
    made.run()
    assert made.step == ""
    stable = [arm for arm in made.pool["spec"].get("traffic", ()) if arm["role"] == "Stable"]
    assert [arm["releaseRef"]["name"] for arm in stable] in ([], [made.status["stable"]])
    # Whoever was promoted was live, and whoever was detected is not.
    for entry in made.status["history"]:
        assert (entry["verdict"] == "Promoted") <= ("from" in entry)
        if entry["reason"] == "Detected":
            assert entry["verdict"] == "RolledBack"
            assert entry["to"]


def test_an_operator_that_dies_before_it_writes_a_detection_has_done_nothing() -> None:
    made = World(
        {"candidates": [{"name": "try-b", "releaseRef": {"name": "b"}}], "rollout": ROLLOUT},
        rates={"a": 0.9, "b": 0.1},
    )
    made.release("b")
    while made.step != "Canary":
        made.settle()
        made.pass_time(1)
    made.pass_time(30, requests=1000)
    before = made.traffic
    made.crash_at = made.writes
    with pytest.raises(Crashed):
        made.visit()
    assert made.traffic == before
    assert "detection" not in made.status
    made.settle()
    assert made.status["detection"]["release"] == "b"


def test_a_release_that_falls_between_decision_and_deed_gets_no_traffic() -> None:
    """The status says so, and still it is not done: the plan looks once more."""
    made = World({"candidates": [{"name": "try-b", "releaseRef": {"name": "b"}}], "rollout": ROLLOUT})
    made.release("b")
    while made.step != "Canary":
        made.visit()
        made.pass_time(1)
    assert made.traffic["b"] == 0
    made.verify("b", verified=False)
    made.visit()
    assert made.traffic["b"] == 0
    made.run()
    assert made.ended == [("try-b", "Failed", "ReleaseNotVerified")]
