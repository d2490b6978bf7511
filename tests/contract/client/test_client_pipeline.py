"""Commands to a pipeline, and its history, on a real API server; the operator's answer is played."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from innervate.cli.output import Exit
from innervate_kinds.learning_pipeline import commands
from innervate_kinds.learning_pipeline.model import LEARNING_PIPELINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Innervate
    from innervate.kubectl import Kubectl

pytestmark = pytest.mark.contract

HISTORY = [
    {
        "rollout": 1,
        "candidate": "second",
        "release": "support-2",
        "from": "2026-01-15T11:00:00Z",
        "to": "2026-01-15T11:20:00Z",
        "decisionTime": "2026-01-15T11:19:58Z",
        "verdict": "RolledBack",
        "reason": "Detected",
        "message": "d-1: e-value 32",
    },
    {
        "rollout": 0,
        "release": "support-1",
        "from": "2026-01-15T10:00:00Z",
        "decisionTime": "2026-01-15T10:00:00Z",
        "verdict": "Initial",
        "reason": "Found",
    },
]


@pytest.fixture
def path(kubectl: Kubectl) -> str:
    """Path of a pipeline."""
    manifest = {
        "apiVersion": LEARNING_PIPELINE.api_version,
        "kind": LEARNING_PIPELINE.kind,
        "metadata": {"name": "support"},
        "spec": {"inferencePoolRef": {"name": "support"}},
    }
    kubectl.run("apply", "--filename", "-", stdin=json.dumps(manifest))
    return LEARNING_PIPELINE.path(kubectl.namespace, "support")


@pytest.fixture
def tell(kubectl: Kubectl, path: str) -> Callable[..., None]:
    """Write a status, as the operator would."""

    def write(**status: Any) -> None:
        body = json.dumps({**kubectl.read(path), "status": status})
        kubectl.run("replace", "--raw", f"{path}/status", "--filename", "-", stdin=body)

    return write


@pytest.fixture
def operator(kubectl: Kubectl, path: str, tell: Callable[..., None]) -> Iterator[list[commands.Command]]:
    """Takes commands, and obeys those that are not to approve."""
    taken: list[commands.Command] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.1):
            command = commands.read(kubectl.read(path)["metadata"].get("annotations") or {})
            if command is None or command in taken:
                continue
            taken.append(command)
            refused = command.action == "approve"
            words = "nothing waits for approval" if refused else "candidate 'second' is called off"
            tell(
                lastCommand={
                    "id": command.id,
                    "action": command.action,
                    "result": "Refused" if refused else "Done",
                    "message": words,
                    "time": "2026-01-15T12:00:00Z",
                }
            )

    thread = threading.Thread(target=watch)
    thread.start()
    yield taken
    stop.set()
    thread.join()


def test_a_command_is_told_once_it_was_taken(innervate: Innervate, operator: list[commands.Command]) -> None:
    done = innervate("pipeline", "abort", "support", "--candidate", "second", "--timeout", "60")
    assert done.returncode == Exit.OK, done.stderr
    assert done.stdout == "abort: candidate 'second' is called off\n"
    assert innervate("pipeline", "rollback", "support", "--timeout", "60").returncode == Exit.OK
    assert [(each.action, each.candidate) for each in operator] == [("abort", "second"), ("rollback", "")]
    assert operator[0].id != operator[1].id


def test_a_refusal_is_an_error(innervate: Innervate, operator: list[commands.Command]) -> None:
    done = innervate("pipeline", "approve", "support", "--timeout", "60")
    assert done.returncode == Exit.FAILED
    assert "nothing waits for approval" in done.stderr
    assert operator


def test_without_an_operator_the_command_stands(innervate: Innervate, kubectl: Kubectl, path: str) -> None:
    done = innervate("pipeline", "abort", "support", "--timeout", "1")
    assert done.returncode == Exit.UNAVAILABLE
    assert "it stands" in done.stderr
    assert "abort" in kubectl.read(path)["metadata"]["annotations"]["innervate.dev/command"]


def test_history_shows_what_was_live_when(innervate: Innervate, tell: Callable[..., None]) -> None:
    assert "no history yet" in innervate("pipeline", "history", "support").stderr
    tell(history=HISTORY)
    shown = innervate("pipeline", "history", "support", "-o", "json")
    assert json.loads(shown.stdout) == HISTORY
    table = innervate("pipeline", "history", "support").stdout
    assert table.splitlines()[0].split()[:4] == ["rollout", "candidate", "release", "verdict"]
    assert "RolledBack" in table
    assert "now" in table


def test_a_pipeline_that_is_not_there_is_said_so(innervate: Innervate) -> None:
    done = innervate("pipeline", "history", "nobody")
    assert done.returncode == Exit.NOT_FOUND
    assert "there is no LearningPipeline nobody" in done.stderr
