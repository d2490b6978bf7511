"""Runs of PPO on a real cluster: gates passed and failed, a trainer killed, a run suspended and resumed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

STEPS = 1_000_000
"""Enough that a fast machine is still at it when it is killed, and again when it is suspended."""
TRAINERS = "app.kubernetes.io/name=rlrun,innervate.dev/owner-uid={uid}"


def environment(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "Environment",
        "metadata": {"name": "pole", "namespace": namespace},
        "spec": {"source": {"jax": {"id": "CartPole-v1"}}},
    }


def run(name: str, namespace: str, *, steps: int = STEPS, **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "RLRun",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "environmentRef": {"name": "pole"},
            "policy": {"architecture": {"hiddenSizes": [64, 64]}},
            "algorithm": {"name": "PPO"},
            "engine": {"builtin": {"resources": resources}},
            "budget": {"steps": steps, "seconds": 1800},
            "checkpoint": {"everySteps": 20_000},
            "storage": {"size": "256Mi"},
            **spec,
        },
    }


class Practice:
    """A namespace with an environment, and the runs in it."""

    def __init__(self, lab: Lab, namespace: str) -> None:
        self._lab = lab
        self._namespace = namespace

    def declare(self, name: str, **spec: Any) -> None:
        self._lab.apply(run(name, self._namespace, **spec))

    def read(self, name: str) -> dict[str, Any]:
        return self._lab.read("rlrun", name, self._namespace) or {}

    def end(self, name: str) -> dict[str, Any]:
        """Status of a run at its end."""
        self._lab.eventually(lambda: "endTime" in self.read(name).get("status", {}), seconds=600, every=1)
        status: dict[str, Any] = self.read(name)["status"]
        return status

    def succeeded(self, name: str) -> tuple[str, str, str]:
        found = self._lab.condition("rlrun", name, "Succeeded", self._namespace)
        return found["status"], found["reason"], found["message"]

    def pods(self, name: str) -> list[str]:
        selector = TRAINERS.format(uid=self.read(name)["metadata"]["uid"])
        found = self._lab.pods(self._namespace, selector)
        return [pod["metadata"]["name"] for pod in found if pod["status"].get("phase") == "Running"]

    def at_checkpoint(self, name: str, *, after: int = 0, besides: Collection[str] = ()) -> tuple[str, int]:
        """A pod that trains and the step of its newest checkpoint, once that is later than another.

        A pod that was killed still counts as running for a moment: those of `besides` are passed over.
        """

        def found() -> tuple[str, int] | None:
            for pod in set(self.pods(name)).difference(besides):
                lines = self._lab.kubectl("logs", "-n", self._namespace, pod, "-c", "sidecar", "--tail=1")
                newest = json.loads(lines) if lines.strip() else {}
                step = int(newest.get("checkpoint") or 0)
                if step > after and not newest.get("result"):
                    return pod, step
            return None

        pod, step = self._lab.eventually(found, seconds=300, every=0.5)
        return pod, step

    def suspend(self, name: str, *, suspend: bool) -> None:
        patch = json.dumps({"spec": {"suspend": suspend}})
        self._lab.kubectl("patch", "rlrun", name, "-n", self._namespace, "--type=merge", "-p", patch)


@pytest.fixture(scope="module")
def practice(lab: Lab) -> Iterator[Practice]:
    with lab.namespace("practice") as namespace:
        lab.apply(environment(namespace))
        lab.ready("environment", "pole", namespace)
        yield Practice(lab, namespace)


@pytest.fixture(scope="module")
def undisturbed(practice: Practice) -> dict[str, Any]:
    """Status of a run of two seeds that nobody disturbed."""
    practice.declare("undisturbed", seeds=2, parallelism=2, gate={"threshold": "150", "episodes": 50})
    return practice.end("undisturbed")


def kill(pod: str) -> None:
    """Kill the trainer of a pod at once: nodes are processes of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().split(b"\0")
            variables = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile, or is the kernel's
        if b"innervate_rl" in command and f"POD_NAME={pod}".encode() in variables:
            found.append(int(path.name))
    assert len(found) == 1, found
    os.kill(found[0], signal.SIGKILL)


def test_a_run_whose_seeds_show_it_passes_the_gate(practice: Practice, undisturbed: dict[str, Any]) -> None:
    status, reason, message = practice.succeeded("undisturbed")
    assert (status, reason) == ("True", "GatePassed"), message
    gate = undisturbed["gate"]
    assert float(gate["low"]) >= 150
    assert gate["passed"] is True
    seeds = undisturbed["seeds"]
    assert [(each["seed"], each["state"]) for each in seeds] == [(0, "Succeeded"), (1, "Succeeded")]
    assert all(0.98 * STEPS <= each["steps"] <= STEPS for each in seeds)
    assert seeds[0]["parameters"] != seeds[1]["parameters"]
    assert undisturbed["rejected"] == {"infrastructure": 0, "verifier": 0}


def test_a_killed_and_suspended_run_ends_as_an_undisturbed_one(
    practice: Practice, undisturbed: dict[str, Any], lab: Lab
) -> None:
    practice.declare("disturbed")
    first, reached = practice.at_checkpoint("disturbed")
    kill(first)
    second, reached = practice.at_checkpoint("disturbed", after=reached, besides={first})

    practice.suspend("disturbed", suspend=True)
    lab.eventually(lambda: not practice.pods("disturbed"), seconds=120)
    lab.eventually(lambda: practice.succeeded("disturbed")[1] == "Suspended", seconds=60)
    practice.suspend("disturbed", suspend=False)
    practice.at_checkpoint("disturbed", after=reached - 1, besides={first, second})

    (seed,) = practice.end("disturbed")["seeds"]
    assert practice.succeeded("disturbed")[:2] == ("True", "Completed")
    assert seed["parameters"] == undisturbed["seeds"][0]["parameters"]
    assert seed["steps"] == undisturbed["seeds"][0]["steps"]


def test_a_run_that_has_hardly_practised_fails_its_gate(practice: Practice) -> None:
    practice.declare("hasty", steps=2000, seeds=2, gate={"threshold": "475", "episodes": 20})
    status = practice.end("hasty")
    assert practice.succeeded("hasty")[:2] == ("False", "GateFailed")
    assert float(status["gate"]["low"]) < 475
    assert {each["state"] for each in status["seeds"]} == {"Succeeded"}


def test_a_setting_that_the_trainer_does_not_know_fails_the_run_in_its_words(practice: Practice) -> None:
    algorithm = {"name": "PPO", "hyperparameters": {"learningRat": "0.1"}}
    practice.declare("mistaken", algorithm=algorithm)
    practice.end("mistaken")
    status, reason, message = practice.succeeded("mistaken")
    assert (status, reason) == ("False", "SeedFailed")
    assert "learningRat" in message
