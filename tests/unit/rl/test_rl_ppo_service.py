"""PPO through a real server of environments."""

from pathlib import Path

import pytest
from environment_process import environment_server
from flaky_environment import BREAKS_AT, LENGTH
from innervate_environments.client import VectorEnvironment
from innervate_rl.errors import RunError
from innervate_rl.experience.reader import ExperienceReader
from innervate_rl.ppo.trainer import train
from innervate_service.config import ConfigError

CUT_AT = 192


class Cut(Exception):
    """The trainer ends here."""


@pytest.fixture(scope="module")
def cartpole():
    with environment_server("CartPole-v1", instancesPerProcess=8) as server:
        yield server


def run(seed, server, tell=lambda _line: None, /, *, attempt=0, **changes):
    environment = {"name": "cart", "endpoint": server.endpoint}
    return train(seed.settings(attempt=attempt, environment=environment, **changes), tell)


def test_a_run_that_was_cut_goes_on_and_ends_the_same(make_seed, cartpole):
    def cut(line):
        if line.step >= CUT_AT:
            raise Cut

    whole, broken = make_seed("whole"), make_seed("broken")
    run(whole, cartpole)
    with pytest.raises(Cut):
        run(broken, cartpole, cut)
    resumed = []
    run(broken, cartpole, resumed.append, attempt=1)
    assert resumed[0].step == CUT_AT
    assert broken.result() == whole.result()
    assert broken.curves() == whole.curves()
    assert whole.result()["rollouts"]["infrastructure"] == 0
    assert whole.result()["chain"]["environment"].startswith("sha256:")


def test_a_server_that_died_changes_nothing_but_the_count(make_seed):
    def kill(line):
        if line.step == CUT_AT:
            server.kill()
            server.start_again()

    whole, shaken = make_seed("whole"), make_seed("shaken")
    with environment_server("CartPole-v1", instancesPerProcess=8) as server:
        run(whole, server)
        run(shaken, server, kill)
    calm, after = whole.result(), shaken.result()
    assert after["parameters"] == calm["parameters"]
    assert after["reward"] == calm["reward"]
    assert shaken.curves() == whole.curves()
    assert after["rollouts"]["valid"] == calm["rollouts"]["valid"]
    assert after["rollouts"]["infrastructure"] >= 4


def test_an_environment_that_was_changed_is_not_learned_in(seed):
    def change(line):
        if line.step == CUT_AT:
            server.kill()
            config.write_text(config.read_text().replace('"maxEpisodeSteps": 500', '"maxEpisodeSteps": 400'))
            server.start_again()

    with environment_server("CartPole-v1", instancesPerProcess=8, maxEpisodeSteps=500) as server:
        config = Path(server.endpoint.removeprefix("unix:")).with_name("config.json")
        with pytest.raises(ConfigError, match=r"changed since the run began: environment was .* another run"):
            run(seed, server, change)
        assert not (seed.files / "result.json").exists()
        # Nor does another attempt go on with what was learned before.
        with pytest.raises(ConfigError, match="changed since the run began"):
            run(seed, server, attempt=1)


def test_an_environment_that_the_run_was_not_made_for_is_refused(seed, cartpole):
    where = {"name": "cart", "endpoint": cartpole.endpoint, "chain": {"environment": "sha256:other"}}
    with pytest.raises(ConfigError, match="environment was sha256:other and is sha256:"):
        train(seed.settings(environment=where), lambda _line: None)


def test_broken_episodes_are_counted_and_never_rewarded(seed):
    with environment_server("flaky_environment:Flaky-v0", options={"share": "0.3"}) as server:
        run(seed, server, experience={"keep": "All", "maxEpisodes": 1000})
    result = seed.result()
    assert result["rollouts"]["infrastructure"] > 5
    assert result["rollouts"]["verifier"] == 0
    # Every valid episode is worth its length: nothing of a broken one is in any mean.
    assert (result["reward"], result["episodes"]) == (LENGTH, 5)
    assert {point["reward"] for point in seed.curves() if "reward" in point} == {LENGTH}
    tables = ExperienceReader(seed.files / "experience").tables()
    rows = [row for table in tables for row in table.to_pylist()]
    errors = [row for row in rows if not row["valid"]]
    assert {row["step"] for row in errors} == {BREAKS_AT - 1}
    assert all("it broke" in row["error"] for row in errors)


def test_a_run_without_a_valid_episode_fails(seed):
    # A rollout as long as a broken episode: there is no valid step in any.
    short = {"name": "PPO", "hyperparameters": {"rolloutSteps": str(BREAKS_AT), "batch": "32"}}
    with (
        environment_server("flaky_environment:Flaky-v0", options={"share": "1.0"}) as server,
        pytest.raises(RunError, match=r"no valid step in 5 rollouts.*it broke"),
    ):
        run(seed, server, algorithm=short)
    assert not (seed.files / "result.json").exists()


def test_what_ppo_cannot_learn_in_is_refused(seed):
    with (
        environment_server("practice_environments:Echo-v0") as server,
        pytest.raises(ConfigError, match="not Text and Text"),
    ):
        run(seed, server)


def test_more_environments_than_the_server_has_are_refused(seed, cartpole):
    many = {"environments": "4096", "rolloutSteps": "1", "batch": "16"}
    with pytest.raises(ConfigError, match=r"slots = 4096: must be 1 to 64"):
        run(seed, cartpole, algorithm={"name": "PPO", "hyperparameters": many}, budget={"steps": 4096})


def test_an_environment_that_stays_away_fails_the_run_and_not_forever(seed, monkeypatch):
    monkeypatch.setattr("innervate_rl.ppo.remote._GONE_SECONDS", 1.0)
    monkeypatch.setattr("innervate_rl.ppo.remote._ANSWER_SECONDS", 5.0)
    with (
        environment_server("CartPole-v1", instancesPerProcess=8) as server,
        pytest.raises(RunError, match="is away"),
    ):
        run(seed, server, lambda line: server.kill() if line.step == CUT_AT else None)
    assert not (seed.files / "result.json").exists()


def test_an_outage_counts_from_its_own_beginning(make_seed, monkeypatch):
    # So short that whatever was before an outage would make it too long.
    monkeypatch.setattr("innervate_rl.ppo.remote._GONE_SECONDS", 0.0)
    whole, shaken = make_seed("whole"), make_seed("shaken")
    with environment_server("CartPole-v1", instancesPerProcess=8) as server:
        run(whole, server)
        kills = []
        training = evaluating = 0
        ended = False
        step = VectorEnvironment.step

        def killing(self, actions, *, slots=None):
            nonlocal training, evaluating, ended
            training += slots is None
            evaluating += trained
            # Twice within the second rollout of 8 steps, further the second time; in the evaluation before
            # any episode ended, and after one did.
            if (slots is None and training in (11, 16)) or evaluating == 3 or (ended and len(kills) == 3):
                kills.append(training)
                server.kill()
                server.start_again()
            answer = step(self, actions, slots=slots)
            ended = trained and bool(answer.terminated.any())
            return answer

        trained = False

        def tell(line):
            nonlocal trained
            trained = line.step == 320

        monkeypatch.setattr(VectorEnvironment, "step", killing)
        run(shaken, server, tell)
    assert len(kills) == 4
    calm, after = whole.result(), shaken.result()
    assert after["parameters"] == calm["parameters"]
    assert after["reward"] == calm["reward"]
