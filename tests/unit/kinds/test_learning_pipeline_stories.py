"""Whole stories of a pipeline: what candidates go through, and what is remembered of them."""

from __future__ import annotations

from typing import Any

import pytest
from innervate_kinds.api.kind import JOB, Reference
from innervate_kinds.eval_job.model import EVAL_JOB
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline.model import LEARNING_PIPELINE
from innervate_kinds.model_release.model import MODEL_RELEASE
from pipeline_world import NAMESPACE, TRAINED, World

STEPS = [
    {"percent": 10, "minSeconds": 20, "minUnits": 40, "maxSeconds": 3000},
    {"percent": 50, "minSeconds": 20, "minUnits": 100, "maxSeconds": 3000},
]
TRAIN = {
    "data": [{"configMapRef": {"name": "examples"}}],
    "output": {"uri": "pvc://releases/trained"},
    "hyperparameters": {"steps": "100"},
}


def gate(name: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": name,
        "evalJobTemplate": {
            "dataset": {"configMapRef": {"name": "golden", "key": "g.jsonl"}},
            "scorers": [{"name": "right", "type": "Exact"}],
            "gate": {"metric": "right", "margin": "0.02", **settings},
        },
    }


def candidates(*names: str) -> list[dict[str, Any]]:
    return [{"name": f"try-{name}", "releaseRef": {"name": name}} for name in names]


def spec(*names: str, **fields: Any) -> dict[str, Any]:
    rollout = {"steps": STEPS, "keepWarmSeconds": 30, **fields.pop("rollout", {})}
    return {"candidates": candidates(*names), "rollout": rollout, **fields}


def world(*names: str, rates: dict[str, float] | None = None, **fields: Any) -> World:
    verdicts = fields.pop("verdicts", None)
    made = World(spec(*names, **fields), rates=rates, verdicts=verdicts)
    for name in names:
        made.release(name)
    return made


def until(made: World, step: str, *, rounds: int = 100, requests: int = 200) -> None:
    for _ in range(rounds):
        made.settle()
        if made.step == step:
            return
        made.pass_time(5, requests=requests)
    raise AssertionError(f"{step} never came: {made.status}")


def test_a_pool_without_traffic_keeps_its_own_release() -> None:
    made = world()
    made.settle()
    assert made.status["stable"] == "a"
    assert "traffic" not in made.pool["spec"]
    assert made.condition("Ready")["status"] == "True"
    assert made.status["history"][0]["verdict"] == "Initial"


def test_a_good_candidate_is_promoted_and_the_one_before_kept_warm_for_a_while() -> None:
    made = world("b", rates={"a": 0.7, "b": 0.9}, gates=[gate("quality")])
    made.run()
    assert made.ended == [("try-b", "Promoted", "NonInferior")]
    assert made.status["stable"] == "b"
    assert made.traffic == {"a": 0, "b": 100}
    assert made.status["previous"]["release"] == "a"
    first, second = made.status["history"]
    assert first["release"] == "b"
    assert "to" not in first
    assert second["to"]
    made.pass_time(31)
    made.settle()
    assert made.traffic == {"b": 100}
    assert "previous" not in made.status


def test_a_bad_candidate_is_detected_told_and_taken_back() -> None:
    made = world("b", rates={"a": 0.9, "b": 0.4})
    made.run()
    assert made.ended == [("try-b", "RolledBack", "Detected")]
    assert made.status["stable"] == "a"
    assert made.traffic == {"a": 100}
    detection = made.status["detection"]
    assert detection["release"] == "b"
    assert detection["rollout"] == 1
    assert "e-value" in detection["evidence"]
    assert detection["ofCandidate"]["units"] > 0
    entry = made.status["history"][0]
    assert entry["from"] <= detection["time"] <= entry["to"]
    assert detection["id"] in entry["message"]


def test_nothing_is_taken_back_before_every_gateway_serves_the_stable_release_alone() -> None:
    made = world("b", rates={"a": 0.9, "b": 0.2})
    until(made, "RollingBack")
    made.gateways = False
    made.pass_time(5)
    made.settle()
    assert made.step == "RollingBack"
    assert made.traffic == {"a": 100, "b": 0}
    assert made.condition("TrafficApplied")["reason"] == "Waiting"
    made.gateways = True
    made.run()
    assert made.ended == [("try-b", "RolledBack", "Detected")]


def test_candidates_take_turns_and_no_two_rollouts_share_an_arm() -> None:
    made = world("b", "c", "d", rates={"a": 0.8, "b": 0.1, "c": 0.9, "d": 0.95})
    made.run()
    assert made.ended == [
        ("try-b", "RolledBack", "Detected"),
        ("try-c", "Promoted", "NonInferior"),
        ("try-d", "Promoted", "NonInferior"),
    ]
    assert made.status["stable"] == "d"
    assert len(made.counts) == 6


def test_a_gate_that_fails_refuses_the_candidate_without_traffic() -> None:
    made = world("b", gates=[gate("quality"), gate("safety")], verdicts={("b", "safety"): "Failed"})
    made.run()
    assert made.ended == [("try-b", "Refused", "GateFailed")]
    assert "from" not in made.status["history"][0]
    assert made.counts.get("candidate-1") is None
    assert made.traffic == {"a": 100}
    jobs = made.list(EVAL_JOB)
    assert {job["spec"]["target"]["releaseRef"]["name"] for job in jobs} == {"b"}
    assert {job["spec"]["baseline"]["releaseRef"]["name"] for job in jobs} == {"a"}
    results = {each["name"]: each.get("verdict") for each in made.status["gates"]}
    assert results == {"quality": "Passed", "safety": "Failed"}


def test_a_gate_without_a_verdict_refuses_too() -> None:
    made = world("b", gates=[gate("quality")], verdicts={("b", "quality"): "Broken"})
    made.run()
    assert made.ended == [("try-b", "Refused", "GateBroken")]
    assert "no data" in made.status["history"][0]["message"]


def test_an_underpowered_gate_refuses_or_asks_a_person() -> None:
    made = world("b", gates=[gate("quality")], verdicts={("b", "quality"): "Underpowered"})
    made.run()
    assert made.ended == [("try-b", "Refused", "GateUnderpowered")]
    held = gate("quality", onUnderpowered="Hold")
    made = world("b", gates=[held], verdicts={("b", "quality"): "Underpowered"}, rates={"b": 0.95})
    until(made, "AwaitingApproval")
    assert "cannot tell" in made.condition("Reconciling")["message"]
    made.command("1", "approve", "try-b")
    made.run()
    assert made.ended == [("try-b", "Promoted", "NonInferior")]


def test_manual_approval_is_waited_for_and_taken_once() -> None:
    made = world("b", "c", rates={"b": 0.95, "c": 0.99}, approval="Manual")
    made.command("early", "approve")
    made.settle()
    assert made.status["lastCommand"]["result"] == "Refused"
    until(made, "AwaitingApproval")
    assert made.traffic == {"a": 100, "b": 0}
    made.command("one", "approve", "try-c")
    made.settle()
    assert made.status["lastCommand"]["result"] == "Refused"
    made.command("two", "approve", "try-b")
    made.settle()
    assert made.step == "Canary"
    assert made.status["lastCommand"] | {"time": ""} == {
        "id": "two",
        "action": "approve",
        "result": "Done",
        "message": "candidate 'try-b' may take traffic",
        "time": "",
    }
    # The same id does nothing for the next candidate.
    for _ in range(200):
        made.settle()
        if made.ended and made.step == "AwaitingApproval":
            break
        made.pass_time(10, requests=200)
    made.pass_time(1000)
    made.settle()
    assert made.step == "AwaitingApproval"
    assert made.status["candidate"]["name"] == "try-c"


@pytest.mark.parametrize("step", ["Warming", "Gating", "AwaitingApproval", "Canary", "Promoting"])
@pytest.mark.parametrize(("action", "verdict"), [("abort", "Aborted"), ("rollback", "RolledBack")])
def test_a_candidate_can_be_called_off_at_every_step(step: str, action: str, verdict: str) -> None:
    made = world("b", rates={"b": 0.95}, gates=[gate("quality")], approval="Manual")
    if step in {"Canary", "Promoting"}:
        until(made, "AwaitingApproval")
        made.command("go", "approve")
    if step == "Warming":
        made.engines = False
    until(made, step)
    made.command("stop", action)
    made.run()
    assert made.ended == [("try-b", verdict, "Commanded")]
    assert made.status["stable"] == "a"
    assert made.traffic == {"a": 100}


def test_a_promotion_can_be_taken_back_while_the_one_before_is_warm() -> None:
    made = world("b", rates={"b": 0.95})
    made.run()
    assert made.status["stable"] == "b"
    made.command("oh", "rollback")
    made.settle()
    assert made.traffic == {"a": 100, "b": 0}
    assert made.status["stable"] == "b"
    made.pass_time(1)
    made.settle()
    assert made.status["stable"] == "a"
    assert made.ended == [("try-b", "RolledBack", "Commanded")]
    assert [("to" in each) for each in made.status["history"]] == [True, False]
    made.command("again", "rollback")
    made.settle()
    assert made.status["lastCommand"]["result"] == "Refused"


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"action": "abort"}',
        '{"id": "x", "action": "explode"}',
        f'{{"id": "x", "action": "abort", "candidate": "{"long" * 1000}"}}',
    ],
)
def test_a_command_that_nobody_understands_is_told_once(text: str) -> None:
    made = world("b")
    until(made, "Canary")
    made.pipeline["metadata"]["annotations"] = {"innervate.dev/command": text}
    made.settle()
    assert made.status["lastCommand"]["result"] == "Refused"
    assert made.step == "Canary"
    writes = made.writes
    made.settle()
    assert made.writes == writes


def test_a_command_that_comes_again_after_others_does_nothing() -> None:
    made = world("b", "c", rates={"b": 0.95, "c": 0.95}, approval="Manual")
    until(made, "AwaitingApproval")
    made.command("one", "approve")
    for _ in range(200):
        made.settle()
        if made.ended and made.step == "AwaitingApproval":
            break
        made.pass_time(10, requests=200)
    assert made.status["candidate"]["name"] == "try-c"
    for number in range(31):
        made.command(f"number-{number}", "explode")
        made.settle()
    made.command("one", "approve")
    made.settle()
    assert made.step == "AwaitingApproval"
    assert made.status["lastCommand"]["id"] == "number-30"
    made.command("number-31", "explode")
    made.settle()
    assert len(made.status["handledCommands"]) == 32
    assert "one" not in made.status["handledCommands"]


def test_an_unsigned_release_is_refused_before_it_gets_an_arm() -> None:
    made = world("b")
    made.verify("b", verified=False)
    made.run()
    assert made.ended == [("try-b", "Refused", "ReleaseNotVerified")]
    assert "traffic" not in made.pool["spec"]


def test_a_release_that_is_found_wrong_later_loses_its_traffic() -> None:
    made = world("b")
    until(made, "Canary")
    made.verify("b", verified=False)
    made.run()
    assert made.ended == [("try-b", "Failed", "ReleaseNotVerified")]
    assert made.traffic == {"a": 100}


def test_a_missing_release_is_told_and_waited_for() -> None:
    made = World(spec("b"), rates={"b": 0.95})
    made.settle()
    assert made.step == "Releasing"
    assert made.condition("ResolvedRefs")["reason"] == "ReleaseNotFound"
    made.release("b")
    made.run()
    assert made.ended == [("try-b", "Promoted", "NonInferior")]


def test_an_engine_that_never_starts_fails_the_candidate() -> None:
    made = world("b", rollout={"readySeconds": 60})
    made.engines = False
    made.run()
    assert made.ended == [("try-b", "Failed", "EngineNotReady")]
    assert "no engine is ready" in made.status["history"][0]["message"]


def test_without_feedback_a_step_is_inconclusive_and_taken_back_or_held() -> None:
    made = world("b")
    made.feedback = False
    made.run()
    assert made.ended == [("try-b", "RolledBack", "Inconclusive")]
    assert "0 of 40" in made.status["history"][0]["message"]
    made = world("b", rates={"b": 0.95}, rollout={"onInconclusive": "Hold"})
    made.feedback = False
    made.run(rounds=400)
    assert made.step == "Canary"
    made.feedback = True
    made.run()
    assert made.ended == [("try-b", "Promoted", "NonInferior")]


def test_the_last_step_passes_by_time_only_where_that_is_allowed() -> None:
    steps = [{"percent": 20, "minSeconds": 10, "minUnits": 20, "maxSeconds": 100}]
    made = world("b", rollout={"steps": steps})
    made.run(requests=10)
    assert made.ended == [("try-b", "Promoted", "NotDetected")]
    judge = {"promotion": "NonInferiority"}
    made = world("b", rollout={"steps": steps, "judge": judge})
    made.run(requests=10)
    assert made.ended == [("try-b", "RolledBack", "Inconclusive")]


def test_a_candidate_is_trained_released_and_promoted() -> None:
    made = World(
        {
            "candidates": [{"name": "fresh", "train": TRAIN}],
            "rollout": {"steps": STEPS, "keepWarmSeconds": 0},
        },
        rates={"a": 0.6},
    )
    made.run()
    assert made.ended == [("fresh", "Promoted", "NonInferior")]
    (release,) = (item for item in made.list(MODEL_RELEASE) if item["metadata"]["name"] != "a")
    assert release["spec"]["artifact"] == {"uri": "pvc://releases/trained", "digest": TRAINED}
    assert made.status["stable"] == release["metadata"]["name"]
    (job,) = made.list(JOB)
    environment = {
        each["name"]: each.get("value") for each in job["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert environment["INNERVATE_BASE_DIGEST"] == "sha256:" + "a" * 64


@pytest.mark.parametrize("why", ["BackoffLimitExceeded", "DeadlineExceeded"])
def test_training_that_fails_ends_the_candidate(why: str) -> None:
    made = World({"candidates": [{"name": "fresh", "train": TRAIN}]})
    made.training_fails = why
    made.run()
    assert made.ended == [("fresh", "Failed", "TrainingFailed")]
    assert made.list(MODEL_RELEASE) == [made.objects[Reference(MODEL_RELEASE, NAMESPACE, "a")]]


def test_a_candidate_that_the_specification_forgets_is_called_off() -> None:
    made = world("b", "c", rates={"c": 0.95})
    until(made, "Canary")
    made.change(candidates=candidates("c"))
    made.run()
    assert made.ended == [("try-b", "Aborted", "Withdrawn"), ("try-c", "Promoted", "NonInferior")]


def test_a_candidate_whose_content_changes_has_another_turn() -> None:
    made = world("b", "c", rates={"b": 0.1, "c": 0.95})
    made.change(candidates=[{"name": "it", "releaseRef": {"name": "b"}}])
    made.run()
    made.change(candidates=[{"name": "it", "releaseRef": {"name": "c"}}])
    made.run()
    assert made.ended == [("it", "RolledBack", "Detected"), ("it", "Promoted", "NonInferior")]


def test_the_stable_release_needs_no_turn() -> None:
    made = world("a")
    made.run()
    assert made.ended == [("try-a", "Skipped", "AlreadyStable")]


def test_changed_shares_take_effect_during_a_step() -> None:
    made = world("b", rates={"b": 0.8})
    until(made, "Canary")
    made.change(rollout={"steps": [{**STEPS[0], "percent": 25}], "keepWarmSeconds": 0})
    made.settle()
    assert made.traffic == {"a": 75, "b": 25}


def test_what_somebody_else_writes_into_the_traffic_is_set_back() -> None:
    made = world("b")
    until(made, "Canary")
    wanted = made.traffic
    made.pool["spec"]["traffic"] = [
        {"name": "mine", "releaseRef": {"name": "b"}, "weight": 100, "role": "Stable"}
    ]
    made.pool["metadata"]["generation"] += 1
    made.settle()
    assert made.traffic == wanted


def test_a_missing_pool_stops_everything_and_is_told() -> None:
    made = world("b", rates={"b": 0.95})
    until(made, "Canary")
    pool = made.objects.pop(Reference(INFERENCE_POOL, NAMESPACE, "pool"))
    made.settle()
    assert made.condition("Ready")["reason"] == "PoolNotFound"
    assert made.step == "Canary"
    made.objects[Reference(INFERENCE_POOL, NAMESPACE, "pool")] = pool
    made.run()
    assert made.ended == [("try-b", "Promoted", "NonInferior")]


def test_two_pipelines_on_one_pool_do_not_quarrel() -> None:
    made = world("b")
    made.put(
        LEARNING_PIPELINE,
        "older",
        {"inferencePoolRef": {"name": "pool"}},
        creationTimestamp="2025-01-01T00:00:00Z",
    )
    made.settle()
    assert made.condition("Accepted")["reason"] == "PoolTaken"
    assert "stable" not in made.status
    assert "traffic" not in made.pool["spec"]


def test_a_new_pipeline_takes_over_what_an_earlier_one_left() -> None:
    made = world("b", "c", rates={"c": 0.95})
    until(made, "Canary")
    arms = set(made.counts)
    del made.pipeline["status"]
    made.pipeline["metadata"]["uid"] = "another"
    made.change(candidates=candidates("c"))
    made.settle()
    assert made.status["stable"] == "a"
    made.run()
    assert made.ended == [("try-c", "Promoted", "NonInferior")]
    assert len(set(made.counts) - arms) == 2


def test_the_history_forgets_the_oldest_but_never_what_is_live() -> None:
    names = [f"r{number}" for number in range(6)]
    made = world(*names, rates=dict.fromkeys(names, 0.1), history={"keep": 2}, gates=[gate("quality")])
    made.run(rounds=2000)
    assert [entry["release"] for entry in made.status["history"]] == ["r5", "r4", "a"]
    rollouts = {job["metadata"]["labels"]["innervate.dev/rollout"] for job in made.list(EVAL_JOB)}
    assert rollouts == {"5", "6"}


def test_jobs_that_were_broken_off_are_deleted() -> None:
    made = world("b", gates=[gate("quality")], verdicts={("b", "quality"): "Passed"})
    until(made, "Gating")
    assert made.list(EVAL_JOB)
    for job in made.list(EVAL_JOB):
        job.pop("status", None)
    made.command("stop", "abort")
    for _ in range(5):
        made.settle()
        made.acknowledge()
    assert made.ended == [("try-b", "Aborted", "Commanded")]
    assert made.list(EVAL_JOB) == []


def test_an_idle_pipeline_writes_nothing() -> None:
    made = world("b", rates={"b": 0.95})
    made.run()
    for _ in range(2):
        made.pass_time(100)
        made.settle()
    writes = made.writes
    for _ in range(20):
        made.pass_time(600)
        made.settle()
    assert made.writes == writes
