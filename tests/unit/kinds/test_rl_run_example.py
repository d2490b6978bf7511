"""The example of a trainer of one's own practises in a real environment, and is understood by the sidecar."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from innervate_learner import sidecar
from task_server import task_server

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLE = Path(__file__).parents[3] / "deploy/examples/rlrun/trl/practice.py"
WORDS = ["apple", "river", "stone", "cloud", "maple"]


@pytest.fixture(scope="module")
def practice() -> ModuleType:
    spec = importlib.util.spec_from_file_location("practice", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lines() -> list[str]:
    tasks = [{"id": word, "input": f"Spell {word} backwards.", "expected": [word[::-1]]} for word in WORDS]
    return [json.dumps({**task, "split": "training"}) for task in tasks]


def test_answers_are_worth_what_the_environment_says(practice: ModuleType) -> None:
    with task_server(lines()) as server:
        found = practice.Practice(server.endpoint, slots=2)
        assert found.prompts("training") == [f"Spell {word} backwards." for word in WORDS]
        rewards = found.rewards("training", [0, 1, 2, 0, 4], ["elppa", "revir", "stone", "apple", "elpam"])
    assert rewards == [1.0, 1.0, 0.0, 0.0, 1.0]
    assert found.rollouts == {"valid": 5, "infrastructure": 0, "verifier": 0}


def test_what_is_reported_is_understood(practice: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    practice.report(1, 64, metrics={"reward": 0.5}, checkpoint="64", path=path)
    result = {
        "steps": 128,
        "episodes": 5,
        "reward": 0.75,
        "rollouts": {"valid": 128, "infrastructure": 0, "verifier": 0},
    }
    practice.report(1, 128, result=result, path=path)
    follower = sidecar.Follower(path, 1)
    follower.finish()
    assert follower.broken == 0
    assert follower.last_word()["final"] is True
    assert follower.last.result == result
