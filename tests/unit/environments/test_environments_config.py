"""What is wrong with a configuration or a file of tasks is named."""

import json

import pytest
from innervate_environments.config import ServerConfig
from innervate_environments.episodes import Reason, Role
from innervate_environments.service import service_config
from innervate_environments.tasks import read
from innervate_environments.verifying import Score, Weighted, judge
from innervate_service.config import ConfigError, load

_TASKS = {"tasks": {"path": "tasks.jsonl"}}
_REWARD = {"name": "right", "scorer": {"type": "Exact"}}


def _config(**environment):
    settings = {"namespace": "lab", "name": "cart", "source": {"gymnasium": {"id": "CartPole-v1"}}}
    return {"environment": settings | environment, "scorer": {}}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (_config(source={}), "exactly one of gymnasium and tasks"),
        (_config(source={"gymnasium": {"id": "A", "options": {"x": "yes"}}}), "options.x = 'yes' is no JSON"),
        (_config(source=_TASKS), "at least one of role Trained"),
        (_config(source=_TASKS, rewards=[_REWARD | {"role": "Canary"}]), "at least one of role Trained"),
        (_config(source=_TASKS, rewards=[_REWARD, _REWARD]), "a name twice: right, right"),
        (_config(rewards=[_REWARD]), "rewards are for tasks"),
        (_config(source=_TASKS, rewards=[_REWARD]) | {"scorer": None}, "scorer is missing"),
        (_config(capacity=0), "environment.capacity = 0 is refused"),
        (_config(speed=1), "environment.speed = 1 is not known"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, document, told):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as caught:
        load(path, ServerConfig)
    assert told in str(caught.value)


def test_every_slot_may_have_a_session_of_a_day():
    common = service_config(ServerConfig.model_validate(_config(capacity=500)))
    assert common.admission.max_concurrent > 500
    assert common.deadline.max_seconds == 86_400


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["{"], "line 1: is no JSON"),
        (['{"id": "a", "input": "?"}'], "line 1: expected = .*Field required"),
        (['{"id": "a", "input": "?", "expected": [1]}'], "line 1: expected.0 = 1: .*string"),
        (["", '{"id": "a", "input": "?", "expected": "!", "split": "test"}'], "line 2: split = 'test'"),
        (['{"id": "a", "input": "?", "expected": "!", "hint": 1}'], "line 1: hint = 1: .*not permitted"),
        (['{"id": "a", "input": "?", "expected": "!"}'] * 2, "line 2: id = 'a' is also that of line 1"),
        ([""], "hold none"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, lines, told):
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=told):
        read(path)


def test_a_file_must_be_the_one_that_is_meant(tmp_path):
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"id": "a", "input": "?", "expected": "!"}')
    digest = read(path).digest.removeprefix("sha256:")
    assert len(read(path, sha256=digest).splits["training"]) == 1
    with pytest.raises(ConfigError, match=f"SHA-256 {digest}, not {'0' * 64}"):
        read(path, sha256="0" * 64)
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "nothing.jsonl")


_REWARDS = [
    Weighted("right", 2.0, Role.TRAINED),
    Weighted("short", -0.5, Role.TRAINED),
    Weighted("trap", 5.0, Role.CANARY),
    Weighted("other", 7.0, Role.HELD_OUT),
]


def test_only_trained_rewards_are_summed():
    verdict = judge(_REWARDS, [Score(1.0), Score(0.5), Score(1.0), Score(1.0)])
    assert verdict.reward == 1.75
    assert verdict.named.values == {"right": 1, "short": 0.5, "trap": 1, "other": 1}
    assert verdict.failure is None


@pytest.mark.parametrize("missing", range(4))
@pytest.mark.parametrize("score", [Score(None, "away"), Score(float("nan"))])
def test_a_score_that_is_missing_is_no_zero(missing, score):
    scores = [Score(1.0)] * 4
    scores[missing] = score
    verdict = judge(_REWARDS, scores)
    assert verdict.reward != verdict.reward
    assert verdict.failure.reason is Reason.UNVERIFIED
    assert verdict.named.failures.keys() == {_REWARDS[missing].name}
    assert _REWARDS[missing].name not in verdict.named.values
