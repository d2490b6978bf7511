"""Tasks on a real server, judged by a real scoring service."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from environment_process import scoring_service
from innervate_environments.client import EnvironmentRefused, Reason, Role, VectorEnvironment
from innervate_environments.local import LocalServer
from practice_dialogue import MAX_TURNS, installed

_TASKS = [
    {"id": "a", "input": "2 + 2 =", "expected": "4"},
    {"id": "b", "input": "3 + 4 =", "expected": ["7", "seven"], "metadata": {"level": 2}},
    {"id": "c", "input": "one?", "expected": ["1"], "split": "evaluation"},
    {"id": "d", "input": "none?", "expected": []},
]
_REWARDS = [
    {"name": "right", "weight": "2.0", "scorer": {"type": "Contains"}},
    {"name": "shouts", "role": "Canary", "scorer": {"type": "Regex", "pattern": "!!"}},
    {"name": "exact", "role": "HeldOut", "scorer": {"type": "Exact"}},
]


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("scorer") / "scorer.sock"
    with scoring_service(path):
        yield path


def _environment(directory: Path) -> dict[str, Any]:
    path = directory / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, _TASKS)))
    return {"name": "sums", "source": {"tasks": {"path": str(path)}}, "rewards": _REWARDS}


def test_answers_are_judged_by_all_rewards_and_trained_by_some(socket: Path, tmp_path: Path) -> None:
    with (
        LocalServer(_environment(tmp_path), scorer=socket) as server,
        VectorEnvironment.open(server.endpoint, slots=3, autoreset=False) as environment,
    ):
        known = environment.describe
        assert (known.training_tasks, known.evaluation_tasks, known.max_episode_steps) == (3, 1, 1)
        assert [(reward.name, reward.role) for reward in known.rewards] == [
            ("right", Role.TRAINED),
            ("shouts", Role.CANARY),
            ("exact", Role.HELD_OUT),
        ]
        assert all(digest.startswith("sha256:") for digest in (known.chain.rewards, known.chain.tasks))
        begun = environment.reset(
            options=[{"task": 0}, {"task": 1}, {"task": 0, "split": "evaluation"}],
        )
        assert begun.observations == ["2 + 2 =", "3 + 4 =", "one?"]
        assert begun.infos[1] == {"task": 1, "split": "training", "id": "b", "metadata": {"level": 2}}
        steps = environment.step(["4", "seven!!", "2"])
    assert not steps.errors
    assert steps.terminated.all()
    assert steps.rewards.tolist() == [2, 2, 0]
    assert [steps.named[at].values for at in range(3)] == [
        {"right": 1, "shouts": 0, "exact": 1},
        {"right": 1, "shouts": 1, "exact": 0},
        {"right": 0, "shouts": 0, "exact": 0},
    ]


def test_what_cannot_be_judged_is_void_and_no_zero(socket: Path, tmp_path: Path) -> None:
    with (
        LocalServer(_environment(tmp_path), scorer=socket) as server,
        VectorEnvironment.open(server.endpoint, slots=2) as environment,
    ):
        environment.reset(options=[{"task": 2}, {"task": 0}])
        steps = environment.step(["nothing", "4"])
        assert {at: failure.reason for at, failure in steps.errors.items()} == {0: Reason.UNVERIFIED}
        assert "right: no expected answer" in steps.errors[0].message
        assert np.isnan(steps.rewards[0])
        assert not steps.terminated[0]
        assert steps.rewards[1] == 2
        assert steps.named[0].failures.keys() == {"right", "exact"}
        assert environment.step(["4", "4"]).errors[0].reason is Reason.NO_EPISODE


def test_seeds_choose_the_same_tasks_again(socket: Path, tmp_path: Path) -> None:
    def chosen(server: LocalServer) -> list[str]:
        with VectorEnvironment.open(server.endpoint, slots=4) as environment:
            ids = [info["id"] for info in environment.reset(seeds=range(4)).infos.values()]
            for _ in range(3):
                ids += [info["id"] for info in environment.step(["4"] * 4).infos.values()]
        return ids

    with LocalServer(_environment(tmp_path), scorer=socket) as server:
        first = chosen(server)
        assert first == chosen(server)
        assert set(first) <= {"a", "b", "d"}, "what is for evaluation is not trained on"
        with VectorEnvironment.open(server.endpoint, slots=1) as environment:
            for option, problem in (
                ({"task": 3}, r"options\[0\].task = 3: must be 0 to 2"),
                ({"split": "test"}, "must be"),
                ({"taks": 1}, "must be"),
            ):
                with (
                    VectorEnvironment.open(server.endpoint, slots=1) as other,
                    pytest.raises(EnvironmentRefused, match=problem),
                ):
                    other.reset(options=option)
            assert not environment.reset().errors


def test_a_package_lets_policies_use_tools_and_only_their_answers_are_judged(
    socket: Path, tmp_path: Path
) -> None:
    with installed(tmp_path):
        server = LocalServer(_environment(tmp_path) | {"instancesPerProcess": 2}, scorer=socket)
        server.start()
    with server, VectorEnvironment.open(server.endpoint, slots=3) as environment:
        assert environment.describe.max_episode_steps == 0
        begun = environment.reset(options=[{"task": 0}, {"task": 1}, {"task": 0}])
        assert begun.observations[0] == "2 + 2 = (known: id, input, metadata)", "not what is expected"
        steps = environment.step(["add 2 2", "answer 7", "hm"])
        assert not steps.errors
        assert (steps.observations[0], steps.observations[2]) == ("4", "add or answer")
        assert steps.terminated.tolist() == [False, True, False]
        assert steps.rewards.tolist() == [0, 2, 0]
        assert steps.named.keys() == {1}
        assert steps.named[1].values == {"right": 1, "shouts": 0, "exact": 1}
        assert steps.finals == {1: "thank you"}
        assert steps.infos[1]["split"] == "training", "the next task began"
        for _ in range(MAX_TURNS - 1):
            steps = environment.step(["4", "hm", "hm"])
        assert steps.terminated[[0, 2]].all(), "it ended by itself"
        assert steps.rewards[[0, 2]].tolist() == [0, 0]


def test_a_dialogue_replays_from_seed_and_answers(socket: Path, tmp_path: Path) -> None:
    with installed(tmp_path):
        server = LocalServer(_environment(tmp_path), scorer=socket)
        server.start()
    with server:
        seen = []
        for _ in range(2):
            with VectorEnvironment.open(server.endpoint, slots=3) as environment:
                told = list(environment.reset(seeds=[1, 2, 3]).observations)
                for answers in (["luck"] * 3, ["answer 4"] * 3, ["luck"] * 3):
                    told += environment.step(answers).observations
                seen.append(told)
    assert seen[0] == seen[1]
    assert len(set(seen[0][3:6])) > 1, "chance is each slot's own"
