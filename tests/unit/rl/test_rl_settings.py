"""What a trainer refuses, and how it says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from innervate_rl import __main__ as program
from innervate_rl import settings
from innervate_rl.ppo import hyperparameters
from innervate_service.config import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "kinds" / "output" / "rlrun"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed = -1 is refused"),
        ({"budget": {}}, "budget.steps is missing"),
        ({"budget": {"steps": 1, "minutes": 2}}, "budget.minutes = 2 is not known"),
        ({"environment": {"name": "cart"}}, "exactly one of endpoint and jax"),
        ({"environment": {"name": "cart", "endpoint": "http://cart"}}, "environment.endpoint"),
        ({"environment": {"name": "cart", "jax": {"id": "Pong-v5"}}}, "environment.jax.id"),
        ({"policy": {}}, "exactly one of architecture and release"),
        ({"algorithm": {"name": "DQN"}}, "algorithm.name"),
        ({"publish": {"uri": "s3://bucket"}}, "publish.uri"),
    ],
)
def test_wrong_settings_are_named(seed, changes, message):
    with pytest.raises(ConfigError, match=message):
        seed.settings(**changes)


def test_settings_say_where_everything_lies(seed):
    found = seed.settings(attempt=2)
    assert found.attempt == 2
    assert found.directory == seed.files
    assert found.configuration.algorithm.hyperparameters["epochs"] == "2"
    assert found.configuration.staleness.max_policy_lag == 0


def test_what_decides_a_training_is_told_apart_from_what_does_not(seed):
    found = seed.settings().configuration
    assert seed.settings(attempt=1, evaluation={"episodes": 7}).configuration.decisive == found.decisive
    assert seed.settings(seed=4).configuration.decisive != found.decisive
    assert seed.settings(budget={"steps": 640}).configuration.decisive != found.decisive


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"epochs": "many"}, "algorithm.hyperparameters: epochs: Input should be a valid integer"),
        ({"speed": "1"}, "algorithm.hyperparameters: speed: Extra inputs"),
        ({"gamma": "2"}, "algorithm.hyperparameters: gamma"),
        ({"batch": "100"}, "environments x rolloutSteps = 256 is no multiple of batch = 100"),
    ],
)
def test_wrong_hyperparameters_are_named(texts, message):
    with pytest.raises(ConfigError, match=message):
        hyperparameters.read(texts, "CartPole-v1")


def test_defaults_suit_the_environment():
    assert hyperparameters.read({}, "CartPole-v1").gamma == 0.98
    assert hyperparameters.read({}, "Acrobot-v1").gamma == 0.99
    assert hyperparameters.read({"gamma": "0.5"}, "Acrobot-v1").gamma == 0.5


def test_the_program_refuses_before_anything_is_loaded(seed):
    environment = seed.environment(seed="none")
    code = f"""
import sys
from innervate_rl import __main__ as program
program.DIRECTORY = __import__("pathlib").Path({str(seed.root / "report")!r})
assert program.main([]) == program.REFUSED
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], env=os.environ | environment, check=True)
    (line,) = seed.report()
    assert "seed = 'none' is refused" in line["error"]
    assert line["final"] is None


def test_a_budget_below_one_update_is_refused(seed):
    assert seed.start(budget={"steps": 31}).wait(250) == program.REFUSED
    assert "budget.steps = 31 is less than the 32 steps of one update" in seed.report()[-1]["error"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        settings.read({"INNERVATE_CONFIG": str(tmp_path / "none.json")})


def test_an_attempt_that_is_no_number_is_refused(seed):
    environment = seed.environment() | {"INNERVATE_ATTEMPT": "first"}
    with pytest.raises(ConfigError, match="no attempt's number"):
        settings.read(environment)
    assert json.loads(seed.root.joinpath("config.json").read_text())["seed"] == 3


def test_every_configuration_that_the_operator_writes_is_accepted():
    found = []
    for path in sorted(GOLDEN.glob("*.yaml")):
        for part in yaml.safe_load_all(path.read_text()):
            found += list(configurations(part))
    assert {each.algorithm.name for each in found} == {"PPO", "GRPO"}
    assert {each.environment.jax is None for each in found} == {True, False}


def configurations(part):
    """Those of trainers, anywhere in a document."""
    if isinstance(part, list):
        for each in part:
            yield from configurations(each)
    elif isinstance(part, dict):
        for name, value in part.items():
            if name == "config.json" and "algorithm" in value:
                yield settings.Configuration.model_validate_json(value)
            else:
                yield from configurations(value)
