"""PPO from settings to result, in an environment inside the trainer."""

import numpy as np
import pytest
from innervate_learner.checkpoint import Checkpoints, FencedError
from innervate_releases import keys, transfer
from innervate_releases.errors import ReleaseError
from innervate_releases.location import open_store
from innervate_rl.errors import RunError
from innervate_rl.experience.reader import ExperienceReader
from innervate_rl.ppo import policy
from innervate_rl.ppo.trainer import train
from innervate_service.config import ConfigError

CUT_AT = 192


class Cut(Exception):
    """The trainer ends here."""


def run(seed, tell=lambda _line: None, /, *, attempt=0, **changes):
    return train(seed.settings(attempt=attempt, **changes), tell)


def rows_of(seed):
    """Rows of all parts, without what tells attempts apart."""
    tables = ExperienceReader(seed.files / "experience").tables()
    return [row | {"attempt": None} for table in tables for row in table.to_pylist()]


def cut(line):
    if line.step >= CUT_AT:
        raise Cut


def test_a_run_leaves_a_result_curves_and_checkpoints(seed):
    said = []
    outcome = run(
        seed, said.append, environment={"name": "c", "jax": {"id": "CartPole-v1"}, "chain": {"a": "b"}}
    )
    result = seed.result()
    assert result == outcome.result.document()
    assert (result["steps"], result["episodes"], result["ended"]) == (320, 5, "Steps")
    assert result["low"] <= result["reward"] <= result["high"]
    assert result["rollouts"]["valid"] > 5
    assert (result["rollouts"]["infrastructure"], result["rollouts"]["verifier"]) == (0, 0)
    assert result["chain"] == {"a": "b"}
    assert result["parameters"].startswith("sha256:")
    points = seed.curves()
    assert [point["step"] for point in points] == list(range(32, 321, 32))
    assert {"kl", "entropy", "loss", "policyLag"} <= points[0].keys()
    assert {64, 128, 192, 256, 320} <= {line.step for line in said}
    assert said[-1].checkpoint == "320"
    assert said[-1].metrics["episodes"] == sum(point["episodes"] for point in points)


@pytest.mark.parametrize("keep", ["None", "Best", "All"])
def test_a_run_that_was_cut_goes_on_and_ends_the_same(make_seed, keep):
    whole, broken = make_seed("whole"), make_seed("broken")
    experience = {"experience": {"keep": keep, "maxEpisodes": 4 if keep == "Best" else 1000}}
    run(whole, **experience)
    with pytest.raises(Cut):
        run(broken, cut, **experience)
    resumed = []
    run(broken, resumed.append, attempt=1, **experience)
    # From the last checkpoint on, and from no earlier one.
    assert resumed[0].step == CUT_AT
    assert broken.result() == whole.result()
    assert broken.curves() == whole.curves()
    assert rows_of(broken) == rows_of(whole)
    assert len(rows_of(whole)) > 0


def test_a_run_that_is_told_to_stop_saves_what_it_has(make_seed, monkeypatch):
    whole, stopped = make_seed("whole"), make_seed("stopped")
    rarely = {"checkpoint": {"everySteps": 10**6}}
    run(whole, **rarely)
    asked = []
    with monkeypatch.context() as context:
        context.setattr("innervate_rl.stopping.told", lambda: asked.append(1) or len(asked) > 3)
        with pytest.raises(RunError, match="told to stop after 96 steps"):
            run(stopped, **rarely)
    resumed = []
    run(stopped, resumed.append, attempt=1, **rarely)
    assert resumed[0].step == 96
    assert stopped.result() == whole.result()
    assert stopped.curves() == whole.curves()


def test_a_run_that_was_cut_after_its_evaluation_ends_in_the_same_result(seed):
    done = run(seed)
    (seed.files / "result.json").unlink()
    rows = rows_of(seed)
    said = []
    again = run(seed, said.append, attempt=1)
    assert again == done
    assert [(line.step, line.checkpoint) for line in said] == [(320, "320")]
    assert rows_of(seed) == rows
    assert seed.result() == done.result.document()


def test_seeds_differ_and_are_repeatable(make_seed):
    one, again, other = (make_seed(name) for name in ("one", "again", "other"))
    first = run(one).result.parameters
    assert run(again).result.parameters == first
    assert run(other, seed=4).result.parameters != first


def test_a_checkpoint_of_other_settings_is_not_gone_on_with(seed):
    with pytest.raises(Cut):
        run(seed, cut)
    said = []
    run(seed, said.append, attempt=1, budget={"steps": 256})
    assert said[0].step == 0
    assert [point["step"] for point in seed.curves()] == list(range(32, 257, 32))


def test_a_later_attempt_shuts_out_an_earlier_one(seed):
    def overtaken(line):
        if line.step == 64:
            directory = next((seed.files / "checkpoint").iterdir())
            Checkpoints(directory, 1).begin()

    with pytest.raises(FencedError):
        run(seed, overtaken)
    assert not (seed.files / "result.json").exists()
    assert [point["step"] for point in seed.curves()] == [32, 64], "nothing is written after that"


def test_a_budget_of_seconds_ends_a_run(seed):
    result = run(seed, budget={"steps": 32 * 10**6, "seconds": 0.05}).result
    assert result.ended == "Seconds"
    assert 0 < result.steps < 32 * 10**6
    # Of all attempts together: the next one has none left.
    again = run(seed, attempt=1, budget={"steps": 32 * 10**6, "seconds": 0.05}).result
    assert again == result


def test_the_policy_becomes_a_release_that_another_run_begins_with(make_seed):
    first, second = make_seed("first"), make_seed("second")
    store = f"file://{first.root / 'store'}"
    outcome = run(first, publish={"uri": store})
    manifest = transfer.read_manifest(open_store(store), outcome.release)
    assert {file.path for file in manifest.files} == {policy.WEIGHTS, policy.CONFIG}
    assert manifest.hyperparameters["algorithm"] == "PPO"
    assert manifest.hyperparameters["epochs"] == "2"
    assert manifest.hyperparameters["seed"] == "3"
    private, public = keys.generate()
    (second.root / "keys").mkdir()
    (second.root / "keys" / "team").write_bytes(public)
    transfer.sign(open_store(store), outcome.release, keys.load_private(private, "team"))
    base = {"release": {"uri": store, "digest": outcome.release}}
    target = f"file://{second.root / 'store'}"
    further = run(second, policy=base, publish={"uri": target})
    assert transfer.read_manifest(open_store(target), further.release).parents == (outcome.release,)
    assert further.result.parameters != outcome.result.parameters
    with pytest.raises(ConfigError, match="sees 4 numbers and chooses among 2 actions"):
        run(second, policy=base, environment={"name": "a", "jax": {"id": "Acrobot-v1"}})


def test_the_same_policy_has_the_same_bytes(make_seed):
    one, two = (make_seed(name) for name in ("one", "two"))
    stores = [f"file://{each.root / 'store'}" for each in (one, two)]
    assert run(one, publish={"uri": stores[0]}).release == run(two, publish={"uri": stores[1]}).release


def test_a_store_that_is_not_there_is_told_before_anything_is_trained(seed):
    said = []
    with pytest.raises(ReleaseError, match="claim 'models' is not mounted"):
        run(seed, said.append, publish={"uri": "pvc://models/rl"})
    assert said == []


def test_a_damaged_checkpoint_costs_time_and_nothing_else(make_seed):
    whole, broken = make_seed("whole"), make_seed("broken")
    run(whole)
    with pytest.raises(Cut):
        run(broken, cut)
    (state,) = (broken.files / "checkpoint").glob("*/state.npz")
    state.write_bytes(state.read_bytes()[:100])
    run(broken, attempt=1)
    assert broken.result() == whole.result()
    assert broken.curves() == whole.curves()


def test_evaluation_plays_by_the_likeliest_action_and_stops_at_the_limit(seed):
    run(seed, experience={"keep": "All", "maxEpisodes": 1000}, evaluation={"episodes": 6})
    rows = [row for row in rows_of(seed) if row["split"] == "evaluation"]
    episodes = {row["episode"] for row in rows}
    assert len(episodes) == 6
    ends = [row for row in rows if row["terminated"] or row["truncated"]]
    assert len(ends) == 6
    mean = np.mean([sum(row["reward"] for row in rows if row["episode"] == one) for one in episodes])
    assert seed.result()["reward"] == pytest.approx(mean)
