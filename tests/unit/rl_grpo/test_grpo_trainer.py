"""Whole runs of a tiny model: what they make, how they go on, and what never reaches a gradient."""

import itertools
import json
from types import SimpleNamespace

import pytest
from grpo_stage import EVALUATION, TRAINING, kinds, worth
from innervate_learner.checkpoint import FencedError
from innervate_models import artifact
from innervate_releases import keys
from innervate_releases.location import open_store
from innervate_releases.transfer import fetch, read_manifest, sign
from innervate_rl import curves
from innervate_rl.errors import RunError
from innervate_rl.experience import parts, writer
from innervate_rl.grpo import releases, training
from innervate_rl.grpo.prompts import Order
from innervate_rl.grpo.puzzles import Puzzle
from innervate_service.config import ConfigError
from scripted_tasks import HUNG, UNVERIFIED, ScriptedTasks


def fresh():
    return ScriptedTasks(*kinds(), reward=worth)


def test_a_run_leaves_curves_and_a_result(stage, scripted):
    said = []
    outcome = stage.train(scripted, said.append)
    points = curves.read(stage.root / "run" / "seeds" / "0" / "curves.jsonl")
    assert [point["step"] for point in points] == [16, 32, 48]
    assert {"reward", "heldOut", "gap", "kl", "entropy", "policyLag", "loss", "length"} <= points[0].keys()
    assert [point["policyLag"] for point in points] == [0, 0, 0]
    result = json.loads((stage.root / "run" / "seeds" / "0" / "result.json").read_text())
    assert result == outcome.result.document()
    assert result["steps"] == 48
    assert result["episodes"] == EVALUATION
    assert result["rollouts"] == {"valid": 48 + EVALUATION, "infrastructure": 0, "verifier": 0}
    assert result["gap"] == pytest.approx(result["reward"] - result["heldOut"])
    assert result["chain"]["tasks"] == "sha256:t"
    assert [line.step for line in said if not line.metrics] == [0, 16, 32, 48, 48]
    assert said[-1].prompts_consumed == TRAINING


@pytest.mark.parametrize("extra", [{}, {"loraRank": "2"}, {"epochs": "2", "minibatches": "2"}])
def test_a_run_that_was_cut_ends_as_the_undisturbed_one(stage, scripted, extra):
    undisturbed = stage.train(scripted, run="undisturbed", every=32, **extra)

    class Cut(Exception):
        pass

    def tell(line):
        if line.step == 48:
            raise Cut

    with pytest.raises(Cut):
        stage.train(fresh(), tell, run="cut", every=32, **extra)
    # What failed meanwhile and was handed in again leaves no trace either.
    environment = fresh()
    environment.failing_once = dict.fromkeys(range(0, TRAINING, 2), HUNG)
    resumed = stage.train(environment, run="cut", attempt=1, every=32, **extra)
    assert resumed.result.parameters == undisturbed.result.parameters
    assert resumed.result.reward == undisturbed.result.reward
    assert len({one.task for one in environment.handed if one.split == "training"}) == 4
    points = curves.read(stage.root / "cut" / "seeds" / "0" / "curves.jsonl")
    assert [point["step"] for point in points] == [16, 32, 48]


def test_each_seed_and_each_setting_goes_its_own_way(stage):
    digests = [
        stage.train(fresh(), run=f"run-{number}", **changed).result.parameters
        for number, changed in enumerate(({}, {"seed": 1}, {"normalizeAdvantages": "false"}))
    ]
    assert len(set(digests)) == 3


def test_a_held_out_reward_reaches_no_gradient(stage, scripted):
    first = stage.train(scripted, run="first")

    class Generous(ScriptedTasks):
        def step(self, actions, *, slots=None):
            steps = super().step(actions, slots=slots)
            for named in steps.named.values():
                named.values["strict"] = 1.0
            return steps

    second = stage.train(Generous(*kinds(), reward=worth), run="second")
    assert second.result.held_out == 1.0
    assert first.result.held_out < 1.0
    assert first.result.parameters == second.result.parameters


def test_the_release_names_its_parent_and_holds_the_merged_model(stage, scripted, tmp_path):
    outcome = stage.train(scripted, publish=True, loraRank="2")
    store = open_store(f"file://{stage.root / 'output'}")
    manifest = read_manifest(store, outcome.release)
    assert manifest.parents == (stage.base,)
    assert manifest.base == read_manifest(store, stage.base).file(artifact.WEIGHTS).digest
    assert {file.path for file in manifest.files} == {*artifact.FILES, artifact.GGUF}
    assert manifest.hyperparameters["method"] == "GRPO"
    assert manifest.hyperparameters["loraRank"] == "2"
    private, public = keys.generate()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "me").write_bytes(public)
    sign(store, outcome.release, keys.load_private(private, "me"))
    fetch(store, outcome.release, keys.load_trusted(tmp_path / "own"), into=tmp_path / "model")
    assert artifact.load(tmp_path / "model").config.width == 16


def test_experience_has_every_token_with_its_probability(stage, scripted):
    poison = 5
    scripted.failing = {poison: UNVERIFIED}
    outcome = stage.train(scripted, keep="All", run="kept")
    directory = stage.root / "kept" / "seeds" / "0" / "experience"
    tables = [table.to_pylist() for part in parts.present(directory) for table in part.tables()]
    rows = [row for table in tables for row in table]
    learned = [row for row in rows if row["split"] == "training"]
    assert len(learned) == 48
    assert len([row for row in rows if row["split"] == "evaluation"]) == EVALUATION
    for row in learned:
        assert len(row["token_ids"]) == len(row["token_logprobs"]) > 0
        assert row["logprob"] == pytest.approx(sum(row["token_logprobs"]), rel=1e-4)
        assert row["valid"] == (row["task"] != str(poison))
    assert {row["error"] for row in learned if not row["valid"]} == {"the verifier is gone"}
    assert len({row["policy"] for row in learned}) == 3
    assert {row["policy"] for row in rows if row["split"] == "evaluation"} == {outcome.result.parameters}


class Inline:
    """Collects when it is asked to, so that it is certain how old everything is."""

    def __init__(self, collector, parameters, *, version, lag):
        assert lag == 1
        self._collector, self._parameters, self._version = collector, parameters, version

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def take(self):
        return self._collector.collect(self._parameters, version=self._version)

    def publish(self, parameters, *, version):
        self._parameters, self._version = parameters, version


@pytest.mark.parametrize(("times", "dropped"), [(1, 0), (2, 4)])
def test_rollouts_that_come_back_too_late_are_dropped_and_counted(
    stage, scripted, monkeypatch, times, dropped
):
    monkeypatch.setattr(training, "Ahead", Inline)
    straggler = Order(TRAINING, seed=0).task(1)
    scripted.failing_once, scripted.times = {straggler: HUNG}, times
    outcome = stage.train(scripted, lag=1, steps=64)
    points = curves.read(stage.root / "run" / "seeds" / "0" / "curves.jsonl")
    assert [point["policyLag"] for point in points] == [0, 0.25 if times == 1 else 0, 0, 0]
    assert points[-1]["dropped"] == dropped
    assert points[-1]["late"] == outcome.result.rollouts.infrastructure == 4 * times
    # The straggler is missing as often as it is not judged, and once more where it is dropped.
    assert outcome.result.rollouts.valid == 64 - 4 * times - dropped + EVALUATION


def test_rollouts_are_made_by_a_thread_of_their_own(stage, scripted):
    scripted.failing_once = dict.fromkeys((1, 2, 3), HUNG)
    outcome = stage.train(scripted, lag=1, steps=160)
    points = curves.read(stage.root / "run" / "seeds" / "0" / "curves.jsonl")
    assert all(0 <= point["policyLag"] <= 1 for point in points if "policyLag" in point)
    assert outcome.result.rollouts.infrastructure == 12
    assert outcome.result.steps == 160


def test_evaluations_on_the_way_change_nothing(stage, scripted):
    plain = stage.train(scripted, run="plain")
    looked = stage.train(fresh(), run="looked", evaluateEvery="2", evaluationTemperature="1")
    points = curves.read(stage.root / "looked" / "seeds" / "0" / curves.FILE)
    assert [point["step"] for point in points if "evaluation" in point] == [0, 32]
    assert looked.result.parameters == plain.result.parameters


def test_a_warm_start_comes_before_the_first_reward(stage, scripted):
    cold = stage.train(fresh(), run="cold")
    warm = stage.train(scripted, run="warm", warmStartSteps="2", warmStartBatch="4")
    assert cold.result.parameters != warm.result.parameters
    assert warm.result.steps == cold.result.steps == 48


def test_nothing_judged_is_no_success(stage, scripted):
    scripted.failing = dict.fromkeys(range(TRAINING), UNVERIFIED)
    with pytest.raises(RunError, match="everything fails: the verifier is gone"):
        stage.train(scripted)
    assert not (stage.root / "run" / "seeds" / "0" / "result.json").exists()


def test_a_later_attempt_shuts_out_the_earlier(stage, scripted):
    def tell(line):
        if line.step == 16 and line.metrics:
            stage.train(fresh(), attempt=1)

    with pytest.raises(FencedError):
        stage.train(scripted, tell, attempt=0)


def test_an_attempt_that_was_shut_out_leaves_the_curves_alone(stage, scripted):
    def tell(line):
        if line.step == 16 and line.metrics:
            stage.train(fresh(), attempt=1, every=1000)

    with pytest.raises(FencedError):
        stage.train(scripted, tell, attempt=0, every=1000)
    points = curves.read(stage.root / "run" / "seeds" / "0" / curves.FILE)
    assert [point["step"] for point in points] == [16, 32, 48]


def test_a_run_that_could_not_be_published_is_evaluated_once(stage, scripted, monkeypatch):
    # The evaluation's part, behind those of three updates, takes the place of them all.
    monkeypatch.setattr(writer, "_MOST_PARTS", 3)
    undisturbed = stage.train(scripted, run="undisturbed", keep="Best", every=16, publish=True)

    def full(*_):
        raise RunError("the store is full")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "publish", full)
        with pytest.raises(RunError, match="the store is full"):
            stage.train(fresh(), run="failed", keep="Best", every=16, publish=True)
    directory = stage.root / "failed" / "seeds" / "0" / "experience"
    assert [part.number for part in parts.present(directory)] == [3]
    environment = fresh()
    resumed = stage.train(environment, run="failed", attempt=1, keep="Best", every=16, publish=True)
    assert environment.handed == []
    assert resumed == undisturbed
    assert [part.number for part in parts.current(directory)] == [3]


def test_a_task_that_is_asked_again_tells_nothing_new(stage):
    learned, evaluation = kinds()

    def by_task(puzzle, _text):
        return int(puzzle.answer[0]) / 9

    few, once = (
        stage.train(
            ScriptedTasks(learned, evaluation[:4], reward=by_task), run=f"run-{count}", evaluated=count
        ).result
        for count in (EVALUATION, 4)
    )
    assert (few.episodes, once.episodes) == (EVALUATION, 4)
    assert few.low < few.reward < few.high
    assert (few.reward, few.low, few.high) == (once.reward, once.low, once.high)


def test_an_evaluation_with_an_episode_missing_is_no_result(stage, scripted):
    scripted.evaluation_failing = {3: itertools.repeat(UNVERIFIED)}
    with pytest.raises(RunError, match="1 of 8 episodes of the evaluation could not be judged: 1 of task 3"):
        stage.train(scripted, evaluateEvery="2")
    seed = stage.root / "run" / "seeds" / "0"
    assert not (seed / "result.json").exists()
    points = curves.read(seed / curves.FILE)
    assert [point["evaluationVoid"] for point in points if point["step"] in {0, 32}] == [1, 1]
    assert not any("evaluation" in point for point in points)
    # Once it can be judged, only the evaluation is missing.
    environment = fresh()
    result = stage.train(environment, attempt=1, evaluateEvery="2").result
    assert {one.split for one in environment.handed} == {"evaluation"}
    assert result.episodes == EVALUATION


def test_tasks_that_cannot_be_evaluated_are_refused_before_training(stage):
    learned, evaluation = kinds()
    evaluation[2] = Puzzle("Reverse this. " * 9, "")
    environment = ScriptedTasks(learned, evaluation)
    with pytest.raises(
        ConfigError, match="promptTokens 24 is too few for 1 of the evaluation's tasks: task 2"
    ):
        stage.train(environment)
    assert environment.handed == []


def test_another_attempt_in_a_changed_environment_is_refused(stage, scripted, monkeypatch):
    with monkeypatch.context() as patch:
        asked = itertools.count()
        patch.setattr(training.stopping, "told", lambda: next(asked) == 2)
        with pytest.raises(RunError, match="told to stop"):
            stage.train(scripted)
    environment = fresh()
    environment.chain = environment.chain._replace(tasks="sha256:other")
    with pytest.raises(ConfigError, match="tasks was sha256:t and is sha256:other; create another run"):
        stage.train(environment, attempt=1)
    assert environment.handed == []


def test_time_ends_a_run_too(stage, scripted, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    outcome = stage.train(scripted, steps=16_000, seconds=20)
    assert outcome.result.ended == "Seconds"
    assert 0 < outcome.result.steps < 16_000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"group": "1"}, "hyperparameters: group: "),
        ({"speed": "9"}, "speed: "),
        ({"minibatches": "3"}, "must divide prompts"),
        ({"warmStartPuzzle": "chess"}, "'chess' is not known; known are reversal, addition, counting"),
        ({"answerTokens": "60"}, "do not fit the model's context of 64"),
        ({"steps": 15}, "budget.steps 15 is less than one update"),
    ],
)
def test_settings_that_cannot_be_are_named(stage, scripted, changed, message):
    with pytest.raises(ConfigError, match=message):
        stage.train(scripted, **changed)


def test_an_environment_without_tasks_to_evaluate_on_is_refused(stage):
    with pytest.raises(ConfigError, match="the environment has no evaluation tasks"):
        stage.train(ScriptedTasks(kinds()[0], []))


def test_a_run_that_is_told_to_stop_keeps_what_it_has(stage, scripted, monkeypatch):
    undisturbed = stage.train(scripted, run="undisturbed", every=1000)
    asked = itertools.count()
    monkeypatch.setattr(training.stopping, "told", lambda: next(asked) == 2)
    with pytest.raises(RunError, match="told to stop after 32 steps"):
        stage.train(fresh(), run="stopped", every=1000)
    monkeypatch.undo()
    environment = fresh()
    assert stage.train(environment, run="stopped", attempt=1, every=1000).result == undisturbed.result
    assert len({one.task for one in environment.handed if one.split == "training"}) == 4
