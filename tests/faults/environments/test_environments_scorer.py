"""A scoring service that is killed: no answer gets a reward that it was not given."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
from environment_process import SECONDS, scoring_service
from innervate_environments.client import Reason, Steps, VectorEnvironment
from innervate_environments.local import LocalServer


def _environment(directory: Path, **settings: Any) -> dict[str, Any]:
    path = directory / "tasks.jsonl"
    path.write_text(json.dumps({"id": "a", "input": "2 + 2 =", "expected": "4"}))
    rewards = [{"name": "right", "scorer": {"type": "Exact"}}]
    return {"source": {"tasks": {"path": str(path)}}, "rewards": rewards} | settings


def test_without_its_verifier_an_answer_is_void(tmp_path: Path) -> None:
    socket = tmp_path / "scorer.sock"
    with (
        LocalServer(_environment(tmp_path, stepSeconds=0.5), scorer=socket) as server,
        VectorEnvironment.open(server.endpoint, slots=2) as environment,
    ):
        with scoring_service(socket):
            environment.reset()
            assert environment.step(["4", "5"]).rewards.tolist() == [1, 0]
        steps = environment.step(["4", "5"])
        assert {failure.reason for failure in steps.errors.values()} == {Reason.UNVERIFIED}
        assert len(steps.errors) == 2
        assert np.isnan(steps.rewards).all()
        assert not steps.terminated.any()


def test_a_verifier_that_comes_back_is_waited_for(tmp_path: Path) -> None:
    socket = tmp_path / "scorer.sock"
    seen: list[Steps] = []
    with (
        LocalServer(_environment(tmp_path, stepSeconds=600), scorer=socket) as server,
        VectorEnvironment.open(server.endpoint, slots=1, timeout=600) as environment,
    ):
        environment.reset()
        asking = threading.Thread(target=lambda: seen.append(environment.step(["4"])))
        asking.start()
        with scoring_service(socket):
            asking.join(SECONDS)
        assert [steps.rewards.tolist() for steps in seen] == [[1]]
