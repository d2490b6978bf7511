"""A package written for the library ``verifiers``, on a real server with the real library."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import verifiers_library
from environment_process import HERE
from innervate_environments.client import Reason, Role, VectorEnvironment
from innervate_environments.local import LocalServer

# The first run installs the library.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def python() -> Path:
    return verifiers_library.interpreter()


@pytest.fixture(scope="module")
def server(python: Path) -> Iterator[LocalServer]:
    with verifiers_library.package_server(python, "turns", capacity=5, instancesPerProcess=3) as server:
        yield server


@pytest.fixture(scope="module")
def environment(server: LocalServer) -> Iterator[VectorEnvironment]:
    """Slots 0 to 2 in one process, 3 in another. The library takes long to import, so there is one lease."""
    with VectorEnvironment.open(server.endpoint, slots=4, autoreset=False) as environment:
        yield environment


@pytest.fixture(scope="module")
def trial(python: Path) -> dict[str, Any]:
    with patch.dict(os.environ, {"PYTHONPATH": verifiers_library.path()}):
        os.environ.pop("OPENAI_API_KEY", None)
        done = subprocess.run(
            [python, HERE / "verifiers_trial.py"], check=True, capture_output=True, text=True
        )
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


def test_answers_earn_what_the_rubric_gives_by_name_and_weight(environment: VectorEnvironment) -> None:
    known = environment.describe
    assert (known.training_tasks, known.evaluation_tasks, known.max_episode_steps) == (3, 1, 4)
    assert [(reward.name, reward.weight) for reward in known.rewards] == [
        ("found", "2.0"),
        ("soon", "0.5"),
        ("told", "0.0"),
        ("num_turns", "0.0"),
    ]
    assert {reward.role for reward in known.rewards} == {Role.TRAINED}
    assert all(digest.startswith("sha256:") for digest in (known.chain.rewards, known.chain.tasks))
    options = [{"task": 0}, {"task": 1}, {"task": 0, "split": "evaluation"}]
    begun = environment.reset(slots=[0, 1, 2], options=options)
    assert begun.observations == ["Add.\n\n2 + 2 =", "Add.\n\n3 + 4 =", "Add.\n\n1 + 1 ="]
    assert (begun.infos[2]["split"], begun.infos[2]["id"]) == ("evaluation", "evaluation-0")
    assert begun.infos[0]["messages"][0] == {"role": "system", "content": "Add."}
    assert "answer" not in json.dumps(begun.infos[0]), "what is right is not told"
    steps = environment.step(["4", "9", "1"], slots=[0, 1, 2])
    assert not steps.errors
    assert steps.observations == ["yes", "less (1)", "more (1)"]
    assert steps.infos[1]["messages"] == [{"role": "user", "content": "less (1)"}]
    assert steps.terminated.tolist() == [True, False, False]
    assert steps.rewards.tolist() == [2.5, 0, 0]
    assert steps.named.keys() == {0}
    steps = environment.step(["7", "3"], slots=[1, 2])
    assert steps.rewards.tolist() == [2, 0]
    assert steps.named[0].values == {"found": 1, "soon": 0, "told": 2, "num_turns": 2}
    for _ in range(2):
        steps = environment.step(["3"], slots=[2])
    assert steps.terminated.all(), "the package's own max_turns"
    assert steps.rewards.tolist() == [0]


def test_a_reward_function_that_raises_voids_the_episode(environment: VectorEnvironment) -> None:
    environment.reset(slots=[0, 1], options={"task": 0})
    steps = environment.step(["pass", "4"], slots=[0, 1])
    assert {at: failure.reason for at, failure in steps.errors.items()} == {0: Reason.UNVERIFIED}
    assert "found: ValueError: invalid literal" in steps.errors[0].message
    assert np.isnan(steps.rewards[0])
    assert not steps.terminated[0]
    assert steps.named[0].failures.keys() == {"found"}
    assert steps.rewards[1] == 2.5


def test_seeds_choose_the_same_tasks_again(environment: VectorEnvironment) -> None:
    def chosen() -> list[str]:
        slots = [0, 1, 2]
        ids = [info["id"] for info in environment.reset(slots=slots, seeds=[5, 6, 7]).infos.values()]
        for _ in range(3):
            ids += [info["id"] for info in environment.reset(slots=slots).infos.values()]
        return ids

    first = chosen()
    assert first == chosen(), "and an episode that another follows is given up"
    assert set(first) == {"training-0", "training-1", "training-2"}


def test_an_episode_follows_another(server: LocalServer, environment: VectorEnvironment) -> None:
    environment.reset(slots=[3])
    with VectorEnvironment.open(server.endpoint, slots=1) as other:
        other.reset(options={"task": 0})
        steps = other.step(["4"])
        assert (steps.terminated[0], steps.rewards[0], steps.finals) == (True, 2.5, {0: "yes"})
        assert steps.observations[0].startswith("Add.")
        assert steps.infos[0]["split"] == "training"


def test_what_breaks_in_a_turn_is_void_and_no_zero(environment: VectorEnvironment) -> None:
    environment.reset(slots=[0, 1, 3], options={"task": 1})
    steps = environment.step(["break", "9", "crash"], slots=[0, 1, 3])
    assert {at: failure.reason for at, failure in steps.errors.items()} == {
        0: Reason.FAILED,
        2: Reason.CRASHED,
    }
    assert "the lamp broke" in steps.errors[0].message
    assert np.isnan(steps.rewards[[0, 2]]).all()
    assert steps.observations[1] == "less (1)"
    assert not environment.reset(slots=[0], options={"task": 1}).errors
    steps = environment.step(["7", "7"], slots=[0, 1])
    assert steps.rewards.tolist() == [2.5, 2], "the others go on"


def test_one_answer_ends_an_episode_of_one_turn(trial: dict[str, Any]) -> None:
    assert trial["single"] == {
        "told": "Add.\n\n1 + 1 =",
        "turns": 1,
        "terminated": True,
        "scores": {"right": 0, "short": 0, "num_turns": 1},
    }


def test_tools_are_told_called_and_answered(trial: dict[str, Any]) -> None:
    tools = trial["tools"]
    assert tools["told"].startswith("Add.\n\n2 + 2 =\n\nTools are called by <tool_call>")
    assert [tool["name"] for tool in tools["tools"]] == ["add"]
    assert tools["roles"] == ["system", "user"]
    assert tools["texts"][0] == "4"
    assert tools["texts"][1].startswith("'sub'\n\nadd() missing 2 required"), "as the library tells it"
    assert tools["terminated"] == [False, False, True]
    assert tools["scores"] == {"right": 1, "num_turns": 3, "total_tool_calls": 3, "add_calls": 2}


def test_a_limit_of_steps_shortens_episodes(trial: dict[str, Any]) -> None:
    assert trial["shortened"] == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("judge", "rewards that need a judge model are not supported"),
        ("client", r"its rewards need a judge model \(JudgeRubric\)"),
        ("group", "its Rubric judges several answers at once"),
        ("sandbox", r"its Box runs in sandboxes of a service elsewhere \(SandboxEnv\)"),
        ("product", r"its Product combines rewards in a way of its own \(score_rollout\)"),
        ("worthless", "no reward function with a weight"),
        ("empty", "has no tasks"),
        ("unknown", "load_environment raises KeyError: 'unknown'; correct it or its arguments"),
        ("missing", "No module named 'practice_elsewhere'; name an image that holds it"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    trial: dict[str, Any], kind: str, reason: str
) -> None:
    assert re.search(reason, trial["refusals"][kind])
