"""Whatever happens to the operator, the trainers and the nodes, a run comes to the same honest end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_world import Crashed, World

if TYPE_CHECKING:
    from collections.abc import Callable

PUBLISH = {
    "releaseName": "balanced",
    "uri": "pvc://releases",
    "signing": {"secretKeyRef": {"name": "signer", "key": "key.pem"}},
}
SPEC = {"seeds": 3, "gate": {"threshold": "400"}, "publish": PUBLISH}


def result(reward: float, *, valid: int = 500, episodes: int = 100) -> dict[str, Any]:
    rollouts = {"valid": valid, "infrastructure": 2, "verifier": 0}
    return {"steps": 1000, "episodes": episodes, "reward": reward, "rollouts": rollouts}


def good() -> World:
    return World(SPEC, {0: result(470), 1: result(495), 2: result(480)})


def outcome(made: World) -> dict[str, Any]:
    """What must not depend on when processes died: all but times and the names that the world gives."""
    status = {key: value for key, value in made.status.items() if not key.endswith("Time")}
    status["conditions"] = [
        {key: value for key, value in each.items() if key != "lastTransitionTime"}
        for each in made.status["conditions"]
    ]
    status["gate"] = {key: value for key, value in status["gate"].items() if key != "time"}
    objects = {str(reference): item["spec"] for reference, item in made.objects.items() if "spec" in item}
    return {"status": status, "objects": objects}


def test_the_best_of_the_seeds_is_published_once_the_gate_is_passed() -> None:
    made = good()
    made.finish()
    assert made.ended == ("True", "GatePassed")
    assert made.status["release"] == "balanced"
    assert made.status["bestSeed"] == 1
    released = [item for reference, item in made.objects.items() if reference.kind.kind == "ModelRelease"]
    assert [item["spec"]["artifact"]["digest"] for item in released] == [f"sha256:{1:064x}"]
    # A seed begins when the one before is at its end, and never twice.
    assert [name for name in made.made if name.startswith("Job ")] == [
        f"Job shop/run-rlrun-{seed}" for seed in range(3)
    ]
    # What is decided is written before it is done.
    published = made.log.index("apply ModelRelease shop/balanced")
    assert made.log[published - 1] == "status"


def test_a_crash_at_any_write_leads_to_the_same_end() -> None:
    reference = good()
    reference.finish()
    assert reference.writes > 15
    for write in range(reference.writes):
        made = good()
        made.crash_at = write
        made.finish()
        assert made.crash_at is None
        assert outcome(made) == outcome(reference), f"after a crash before {reference.log[write]}"


@pytest.mark.parametrize("seed", range(3))
def test_a_run_never_succeeds_with_a_seed_that_learned_from_nothing(seed: int) -> None:
    results = {number: result(500, valid=0 if number == seed else 500) for number in range(3)}
    made = World({"seeds": 3, "parallelism": 3}, results)
    made.finish()
    assert made.ended == ("False", "NoValidRollouts")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (result(500, episodes=1), "seed 1: it was evaluated by 1 episodes, and spec.gate.episodes wants 100"),
        (
            {name: value for name, value in result(500).items() if name != "episodes"},
            "seed 1: its result does not say how many `episodes` its reward is the mean of",
        ),
    ],
)
def test_a_gate_looks_at_no_mean_of_fewer_episodes_than_it_wants(said: dict[str, Any], why: str) -> None:
    made = World(SPEC, {0: result(470), 1: said, 2: result(480)})
    made.finish()
    assert made.ended == ("False", "SeedFailed")
    (told,) = (each for each in made.status["conditions"] if each["type"] == "Succeeded")
    assert told["message"].startswith(why)
    assert not [name for name in made.made if name.startswith("ModelRelease")]


def test_a_run_without_a_gate_wants_no_number_of_episodes() -> None:
    made = World({"seeds": 1}, {0: result(500, episodes=1)})
    made.finish()
    assert made.ended == ("True", "Completed")


def test_a_gate_that_fails_publishes_nothing() -> None:
    made = World(SPEC, {0: result(470), 1: result(495), 2: result(100)})
    made.finish()
    assert made.ended == ("False", "GateFailed")
    assert not [name for name in made.made if name.startswith("ModelRelease")]


def test_suspension_takes_the_time_that_was_used_off_what_is_left() -> None:
    made = good()
    made.visit()
    made.work()
    (job,) = made.jobs.values()
    whole = job["spec"]["activeDeadlineSeconds"]
    for used in (100, 50):
        made.pass_time(used)
        made.suspend(suspend=True)
        made.visit()
        made.work()
        made.pass_time(10_000)
        made.visit()
        assert made.at_work == []
        made.suspend(suspend=False)
        made.visit()
        made.work()
    assert job["spec"] | {"template": None} == job["spec"] | {
        "template": None,
        "suspend": False,
        "activeDeadlineSeconds": whole - 150,
    }
    made.finish()
    assert made.ended == ("True", "GatePassed")


def test_idleness_writes_nothing() -> None:
    made = good()
    made.visit()
    for act in (made.work, made.finish):
        act()
        made.visit()
        writes = made.writes
        for seconds in (1, 60, 3600):
            made.pass_time(seconds)
            made.visit()
        assert made.writes == writes, made.log[writes:]


Event = tuple[str, Any]
SEED = st.integers(0, 2)
EVENTS = st.one_of(
    *[st.tuples(st.sampled_from(["visit", "work"]), st.none())] * 4,
    st.tuples(st.just("time"), st.sampled_from([1, 60, 4000])),
    st.tuples(st.just("suspend"), st.booleans()),
    st.tuples(st.just("environment"), st.booleans()),
    st.tuples(st.sampled_from(["kill", "lose", "expire"]), SEED),
    st.tuples(st.just("crash"), st.integers(0, 3)),
)


def happen(made: World, event: Event) -> None:
    kind, value = event
    deeds: dict[str, Callable[[], None]] = {
        "work": made.work,
        "time": lambda: made.pass_time(value),
        "suspend": lambda: made.suspend(suspend=value),
        "environment": lambda: made.environment_ready(ready=value),
        "kill": lambda: made.kill(value),
        "lose": lambda: made.lose(value),
        "expire": lambda: made.expire(value),
        "crash": lambda: setattr(made, "crash_at", made.writes + value),
    }
    if kind == "visit":
        with contextlib.suppress(Crashed):
            made.visit()
            made.visit()
    else:
        deeds[kind]()


@settings(max_examples=30)
@given(st.lists(EVENTS, max_size=45), st.integers(1, 3))
def test_whatever_happens_a_run_comes_to_its_end(events: list[Event], parallelism: int) -> None:
    made = World({**SPEC, "parallelism": parallelism}, good().results)
    for event in events:
        happen(made, event)
        assert len(made.at_work) <= parallelism
        assert made.ended[0] != "True" or all(each["state"] == "Succeeded" for each in made.status["seeds"])
    made.suspend(suspend=False)
    made.environment_ready(ready=True)
    made.finish()
    assert made.ended == ("True", "GatePassed")
    assert made.status["bestSeed"] == 1
    assert made.at_work == []
