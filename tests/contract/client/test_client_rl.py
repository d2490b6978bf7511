"""`innervate rl` on a real API server: an operator's status, a real sidecar's curves, and files of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import laptop_kubectl
import pyarrow.parquet as pq
import pytest
from experience_steps import POLICY, origin, whole
from innervate.kubectl import COMMAND
from innervate_learner.report import Line
from innervate_rl.curves import Curves
from innervate_rl.experience import ExperienceWriter, Keep
from innervate_rl.result import Result, Rollouts
from redis_process import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Innervate
    from innervate.kubectl import Kubectl

pytestmark = pytest.mark.contract

JAX = Path(__file__).parents[3] / "deploy/examples/environment/jax.yaml"
NAME = "cartpole"
RUN: dict[str, Any] = {
    "apiVersion": "innervate.dev/v1alpha1",
    "kind": "RLRun",
    "metadata": {"name": NAME},
    "spec": {
        "environmentRef": {"name": "practice"},
        "policy": {"architecture": {}},
        "algorithm": {"name": "PPO"},
        "budget": {"steps": 1000, "seconds": 600},
        "seeds": 2,
        "gate": {"threshold": "475"},
    },
}
PASSED = ("True", "GatePassed", "the lower bound reaches the threshold")
FAILED = ("False", "GateFailed", "the lower bound is below the threshold")
RUNNING = ("Unknown", "Running", "0 of 2 seeds are at their end")


@pytest.fixture
def run(kubectl: Kubectl) -> dict[str, Any]:
    """A run, as its owner made it."""
    kubectl.run("create", "-f", "-", stdin=json.dumps(RUN))
    found: dict[str, Any] = kubectl.read(path(kubectl))
    return found


@pytest.fixture
def tell(kubectl: Kubectl, run: dict[str, Any]) -> Callable[..., None]:
    """Write the run's status, as the operator would."""

    def write(condition: tuple[str, str, str], state: str) -> None:
        status, reason, message = condition
        said = {
            "observedGeneration": 1,
            "steps": 900,
            "bestReward": "490.5",
            "rejected": {"infrastructure": 3, "verifier": 0},
            "seeds": [
                {"seed": seed, "state": state, "steps": 450, "reward": f"{480 + seed}.5"} for seed in (0, 1)
            ],
            "conditions": [
                {
                    "type": "Succeeded",
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "observedGeneration": 1,
                    "lastTransitionTime": "2026-01-15T12:00:00Z",
                }
            ],
        }
        if status != "Unknown":
            said["gate"] = {
                "metric": "Reward",
                "mean": "481",
                "low": "477.8",
                "threshold": "475",
                "passed": status == "True",
                "time": "2026-01-15T12:00:00Z",
            }
        patch = json.dumps({"status": said})
        kubectl.run(
            "patch", "rlrun", run["metadata"]["name"], "--subresource=status", "--type=merge", f"-p={patch}"
        )

    return write


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[int]:
    """Port of a sidecar that tells three points of a training."""
    port = free_port()
    report = tmp_path / "report.jsonl"
    lines = [Line(0, 100 * at, {"reward": 20.0 * at, "entropy": 0.5}) for at in (1, 2, 3)]
    report.write_text("".join(line.encode() for line in lines))
    address = f"127.0.0.1:{port}"
    variables = {"INNERVATE_REPORT": str(tmp_path), "INNERVATE_HEALTH_LISTEN": address}
    process = subprocess.Popen(
        [sys.executable, "-m", "innervate_learner.sidecar"],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )

    def all_told() -> bool:
        try:
            return len(httpx.get(f"http://{address}/curves", trust_env=False).json()["points"]) == 3
        except httpx.HTTPError:
            return False

    try:
        deadline = time.monotonic() + 60
        while not all_told():
            assert time.monotonic() < deadline, "the sidecar does not tell the whole report"
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def training(kubectl: Kubectl, run: dict[str, Any], sidecar: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods of both seeds, of which the second does not answer."""
    monkeypatch.setenv(
        COMMAND, f"{sys.executable} {laptop_kubectl.__file__} {os.environ[COMMAND]} --kubectl-ends-here"
    )
    for seed in (0, 1):
        labels = {
            "innervate.dev/owner-uid": run["metadata"]["uid"],
            "app.kubernetes.io/name": "rlrun",
            "app.kubernetes.io/component": f"seed-{seed}",
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"seed-{seed}", "labels": labels},
            "spec": {"containers": [{"name": "trainer", "image": "none"}]},
        }
        kubectl.run("create", "-f", "-", stdin=json.dumps(pod))
        kubectl.run(
            *("patch", "pod", f"seed-{seed}", "--subresource=status", "--type=merge"),
            '-p={"status":{"phase":"Running"}}',
        )
    monkeypatch.setenv("LAPTOP_PORTS", json.dumps({"seed-0": sidecar}))


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run leaves on its volume."""
    for seed in (0, 1):
        directory = tmp_path / "run" / "seeds" / str(seed)
        Curves(directory).append({"step": 10 * at, "reward": float(at)} for at in range(1, 50))
        Result(490, 20, 480.5 + seed, 470, 490, Rollouts(60, 3, 0), {}, POLICY).write(directory)
        with ExperienceWriter(directory / "experience", origin(), keep=Keep.ALL) as writer:
            steps, lengths = whole([5] * 12, range(12), seed=seed)
            writer.append_episodes(steps, lengths, iteration=3, policy=POLICY)
            writer.flush()
    monkeypatch.setenv("INNERVATE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv(
        COMMAND, f"{sys.executable} {laptop_kubectl.__file__} {os.environ[COMMAND]} --kubectl-ends-here"
    )


def path(kubectl: Kubectl) -> str:
    return f"/apis/innervate.dev/v1alpha1/namespaces/{kubectl.namespace}/rlruns/{NAME}"


def test_runs_are_listed_with_how_far_they_are(innervate: Innervate, tell: Callable[..., None]) -> None:
    assert "Unseen" in innervate("rl", "list").stdout
    tell(PASSED, "Succeeded")
    row = next(line for line in innervate("rl", "list").stdout.splitlines() if line.startswith(NAME)).split()
    assert row[1:7] == ["practice", "2/2", "900", "490.5", "477.8", "GatePassed"]
    (found,) = json.loads(innervate("rl", "list", "-o", "json").stdout)
    assert found["outcome"] == {"succeeded": True, "reason": "GatePassed", "message": PASSED[2]}


@pytest.mark.usefixtures("training")
def test_watching_tells_each_point_and_ends_with_the_run(
    innervate: Innervate, tell: Callable[..., None]
) -> None:
    tell(PASSED, "Running")
    done = innervate("rl", "watch", NAME, "--output", "json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    points = [line for line in lines if "step" in line]
    assert [(point["seed"], point["step"]) for point in points] == [(0, 100), (0, 200), (0, 300)]
    assert points[-1]["metrics"] == {"reward": 60.0, "entropy": 0.5}
    assert lines[-2]["status"]["steps"] == 900
    assert lines[-1] == {"outcome": {"succeeded": True, "reason": "GatePassed", "message": PASSED[2]}}


@pytest.mark.usefixtures("training")
def test_watching_draws_the_curves_and_a_failed_run_ends_with_1(
    innervate: Innervate, tell: Callable[..., None]
) -> None:
    tell(FAILED, "Running")
    done = innervate("rl", "watch", NAME)
    assert done.returncode == 1
    assert f"{NAME}  PPO in practice  900 of 2,000 steps" in done.stdout
    assert "void: 3 environment, 0 verifier" in done.stdout
    assert any(0x2800 < ord(character) < 0x2900 for character in done.stdout)
    assert "GateFailed: the lower bound is below the threshold" in done.stdout
    assert "must reach 475: failed" in done.stdout
    assert "entropy" in done.stdout


def test_a_result_is_shown_without_the_volume(innervate: Innervate, tell: Callable[..., None]) -> None:
    tell(RUNNING, "Running")
    shown = innervate("rl", "report", NAME)
    assert "Running: 0 of 2 seeds are at their end" in shown.stdout
    tell(PASSED, "Succeeded")
    shown = innervate("rl", "report", NAME)
    assert "gate: Reward mean 481, lower bound 477.8, must reach 475: passed" in shown.stdout
    assert "--file html" in shown.stderr
    assert json.loads(innervate("rl", "report", NAME, "-o", "json").stdout)["gate"]["passed"]


@pytest.mark.usefixtures("left")
def test_the_page_of_a_run_is_made_from_its_volume(
    innervate: Innervate, tell: Callable[..., None], kubectl: Kubectl
) -> None:
    tell(PASSED, "Succeeded")
    done = innervate("rl", "report", NAME, "--file", "html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
    assert f"{kubectl.namespace}/{NAME}: PPO in practice <span class='v Passed'>" in done.stdout
    assert "Best episodes" in done.stdout
    one = innervate("rl", "report", NAME, "--file", "html", "--seed", "1").stdout
    assert "1 of 2 seeds has ended" in one
    wrong = innervate("rl", "report", NAME, "--file", "html", "--seed", "2")
    assert (wrong.returncode, "no 2" in wrong.stderr) == (1, True)
    assert kubectl.read(f"/api/v1/namespaces/{kubectl.namespace}/pods")["items"] == []


@pytest.mark.usefixtures("left", "run")
def test_experience_is_fetched_and_curated(innervate: Innervate, tmp_path: Path) -> None:
    into = tmp_path / "here"
    done = innervate("rl", "export", NAME, "--to", str(into), "--lowest", "6", "--distinct", "exact")
    assert done.returncode == 0, done.stderr
    assert f"12 of 24 episodes in {into / NAME}" in done.stdout
    assert "outOfRange 12" in done.stdout
    assert pq.read_table(into / NAME / "seed-0001.parquet").num_rows == 30
    account = json.loads((into / NAME / "curation.json").read_text())
    assert account["digest"] in done.stdout


@pytest.mark.usefixtures("left")
def test_experience_is_a_data_set_of_minari(
    innervate: Innervate, run: dict[str, Any], tmp_path: Path
) -> None:
    done = innervate(
        *("rl", "export", NAME, "--to", str(tmp_path), "--format", "minari", "--seed", "1", "-o", "json")
    )
    assert json.loads(done.stdout)["seeds"] == [1]
    metadata = tmp_path / run["metadata"]["namespace"] / f"{NAME}-v0" / "data" / "metadata.json"
    assert json.loads(metadata.read_text())["total_episodes"] == 12


@pytest.mark.usefixtures("left", "run")
def test_an_export_of_nothing_says_why(innervate: Innervate, tmp_path: Path) -> None:
    done = innervate("rl", "export", NAME, "--to", str(tmp_path / "none"), "--lowest", "1000")
    assert done.returncode == 1
    assert "no episode is left to export: read 24, outOfRange 24" in done.stderr


def test_what_is_not_there_is_named(innervate: Innervate) -> None:
    for command in ("watch", "report", "export"):
        done = innervate("rl", command, "nobody")
        assert done.returncode == 5
        assert "there is no RLRun 'nobody'" in done.stderr
    assert "there are no RLRuns in namespace" in innervate("rl", "list").stderr


def test_an_environment_inside_the_trainer_is_told_by_its_declaration(
    innervate: Innervate, kubectl: Kubectl
) -> None:
    kubectl.run("apply", "-f", str(JAX))
    done = innervate("env", "describe", "cartpole-jax")
    assert done.returncode == 0, done.stderr
    assert "inside the trainer" in done.stdout
    assert '{"jax": {"id": "CartPole-v1"}}' in done.stdout
    found = json.loads(innervate("env", "describe", "cartpole-jax", "-o", "json").stdout)
    assert (found["name"], found["server"]) == ("cartpole-jax", None)
    missing = innervate("env", "describe", "nobody")
    assert (missing.returncode, "there is no Environment 'nobody'" in missing.stderr) == (5, True)
