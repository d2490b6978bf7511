"""The trainer and its sidecar find what a run plans for them, and are understood."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from innervate_kinds.parts import jobs
from innervate_kinds.parts.trainers import SIDECAR, TRAINER
from innervate_kinds.rl_run import result
from innervate_kinds.rl_run.model import RLRun
from innervate_kinds.rl_run.room import ROOM
from innervate_learner import report, sidecar
from innervate_learner.report import Line, Report
from innervate_rl import settings
from innervate_rl.result import Result, Rollouts
from kinds_cluster import CONFIG, Cluster

CASES = Path(__file__).parents[2] / "golden/kinds/input/rlrun"
DIGEST = "sha256:" + "ab" * 32


def children(name: str) -> dict[str, dict[str, Any]]:
    """The last child of each kind that a golden case plans."""
    case = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    run = RLRun.model_validate(case["resource"])
    observed = ROOM.observe(run, Cluster(case["cluster"]), {})
    plan = ROOM.plan(run, observed, CONFIG, datetime(2026, 1, 15, 12, tzinfo=UTC))
    return {child.kind.kind: child.manifest for child in plan.apply}


@pytest.mark.parametrize(
    ("case", "algorithm", "endpoint", "seconds"),
    [
        ("minimal", "PPO", None, 86_400),
        ("served", "PPO", "grpcs://cartpole-jax-environment.shop.svc:7443", 1800),
        ("full", "GRPO", "grpcs://reversal-environment.shop.svc:7443", 1200),
    ],
)
def test_the_trainer_reads_its_settings(
    case: str, algorithm: str, endpoint: str | None, seconds: int, tmp_path: Path
) -> None:
    planned = children(case)
    (container,) = planned["Job"]["spec"]["template"]["spec"]["containers"]
    path = tmp_path / "config.json"
    path.write_text(planned["ConfigMap"]["data"]["config.json"])
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    found = settings.read({**environment, "INNERVATE_CONFIG": str(path), report.ATTEMPT: "3"})
    assert found.attempt == 3
    assert found.image == "registry.example/innervate/rl:0.1.0"
    assert found.configuration.algorithm.name == algorithm
    assert found.configuration.environment.endpoint == endpoint
    assert found.configuration.budget.seconds == seconds
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    needed = {found.report, found.trust, found.keys, found.token.parent, settings.RUN}
    assert mounts.keys() >= {str(place) for place in needed}
    assert found.compile_cache
    assert found.compile_cache.is_relative_to(settings.RUN)
    assert not mounts[str(settings.RUN)].get("readOnly")


def test_both_containers_are_told_the_attempt() -> None:
    for case, kind, annotation in (
        ("minimal", "Job", "batch.kubernetes.io/job-index-failure-count"),
        ("external_job_set", "JobSet", "jobset.sigs.k8s.io/restart-attempt"),
    ):
        spec = children(case)[kind]["spec"]
        template = spec["replicatedJobs"][0]["template"]["spec"] if kind == "JobSet" else spec
        pod = template["template"]["spec"]
        for container in (*pod["initContainers"], *pod["containers"]):
            (attempt,) = (each for each in container["env"] if each["name"] == report.ATTEMPT)
            assert attempt["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.annotations['{annotation}']"


def said(lines: list[Line], directory: Path) -> dict[str, Any]:
    """Page and last words of a sidecar that follows a report."""
    write = Report(directory)
    for line in lines:
        write(line)
    follower = sidecar.Follower(directory / report.FILE, 0)
    follower.finish()
    return {"page": follower.progress(), "words": follower.last_word()}


def state(words: dict[str, Any]) -> jobs.JobState:
    pod = {
        "metadata": {
            "name": "p",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app.kubernetes.io/component": "seed-0"},
        },
        "status": {
            "containerStatuses": [{"name": TRAINER}],
            "initContainerStatuses": [
                {"name": SIDECAR, "state": {"terminated": {"exitCode": 0, "message": json.dumps(words)}}}
            ],
        },
    }
    found = jobs.job({"status": {}}, [pod], "seed-0")
    assert found
    return found


def test_a_result_is_understood(tmp_path: Path) -> None:
    figures = Result(
        steps=1000,
        episodes=100,
        reward=487.123456,
        low=480.0,
        high=490.0,
        rollouts=Rollouts(valid=900, infrastructure=2, verifier=1),
        chain={"environment": DIGEST},
        parameters=DIGEST,
        held_out=0.5,
        gap=486.6,
    )
    last = Line(0, step=1000, release=DIGEST, result=figures.document())
    found = result.words(state(said([last], tmp_path)["words"]))
    assert found
    assert found.error == ""
    assert found.release == DIGEST
    assert found.result
    assert (found.result.steps, found.result.reward, found.result.held_out) == (1000, 487.123456, 0.5)
    assert found.result.episodes == 100
    assert found.result.rollouts == result.Rollouts(valid=900, infrastructure=2, verifier=1)
    assert found.result.parameters == DIGEST


def test_an_error_is_understood(tmp_path: Path) -> None:
    found = result.words(state(said([Line(0, error="the volume is full")], tmp_path)["words"]))
    assert found == result.Words(None, None, "the volume is full")


def test_a_release_without_a_result_is_no_result(tmp_path: Path) -> None:
    found = result.words(state(said([Line(0, release=DIGEST)], tmp_path)["words"]))
    assert found == result.Words(None, None, "the trainer's last report holds no result")


def test_progress_is_understood(tmp_path: Path) -> None:
    metrics = {"reward": 212.5, "stepsPerSecond": 5100.25, "infrastructure": 3.0, "verifier": 0.0, "kl": 0.01}
    page = said([Line(0, step=4096, metrics=metrics)], tmp_path)["page"]
    found = result.progress(result.decode(page))
    assert (found.steps, found.rate, found.reward, found.held_out) == (4096, 5100.25, 212.5, None)
    assert (found.infrastructure, found.verifier) == (3, 0)


@pytest.mark.parametrize("page", [{"step": -1}, {"step": "many"}, {"metrics": {"reward": "high"}}])
def test_a_page_that_is_not_as_agreed_is_refused(page: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"step|reward"):
        result.decode(page)
