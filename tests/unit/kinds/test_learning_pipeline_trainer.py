"""The trainer and its sidecar find what a pipeline plans for them, and are understood."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from innervate_kinds.learning_pipeline import training
from innervate_kinds.learning_pipeline.model import LearningPipeline
from innervate_kinds.learning_pipeline.room import ROOM
from innervate_kinds.parts import trainers
from innervate_kinds.parts.jobs import JobState
from innervate_kinds.parts.pods import ContainerState, PodState
from innervate_learner import report, settings
from innervate_learner.sidecar import Follower
from kinds_cluster import CONFIG, Cluster

CASE = Path(__file__).parents[2] / "golden/kinds/input/learningpipeline/training.yaml"
RELEASE = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def children() -> dict[str, dict[str, Any]]:
    """Children of a pipeline whose candidate is trained, by kind."""
    case = yaml.safe_load(CASE.read_text())
    pipeline = LearningPipeline.model_validate(case["resource"])
    observed = ROOM.observe(pipeline, Cluster(case["cluster"]), {})
    plan = ROOM.plan(pipeline, observed, CONFIG, datetime(2026, 1, 15, 12, tzinfo=UTC))
    return {child.kind.kind: child.manifest for child in plan.apply}


def test_the_trainer_reads_its_settings(children: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    (container,) = children["Job"]["spec"]["template"]["spec"]["containers"]
    path = tmp_path / "config.json"
    path.write_text(children["ConfigMap"]["data"]["config.json"])
    environment = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    found = settings.read({**environment, "INNERVATE_CONFIG": str(path), report.ATTEMPT: "2"})
    assert found.attempt == 2
    assert found.hyperparameters.steps == 200
    assert found.output_uri == "pvc://trained/support"
    assert found.base_uri == "pvc://releases"
    assert found.image == "registry.example/innervate/learner:0.1.0"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts >= {str(found.keys), str(found.report), f"{found.data}/0", f"{found.data}/1"}
    assert str(settings.CONFIG.parent) in mounts


def test_both_containers_are_told_the_attempt(children: dict[str, dict[str, Any]]) -> None:
    spec = children["Job"]["spec"]
    # Only such a Job numbers its attempts.
    assert (spec["completionMode"], "backoffLimitPerIndex" in spec) == ("Indexed", True)
    pod = spec["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        (attempt,) = (each for each in container["env"] if each["name"] == report.ATTEMPT)
        assert "job-index-failure-count" in attempt["valueFrom"]["fieldRef"]["fieldPath"]


def ended(word: dict[str, Any]) -> JobState:
    message = json.dumps(word)
    container = ContainerState(
        name=trainers.SIDECAR, image="", ready=False, ended="Completed", ended_message=message
    )
    pod = PodState(name="p", ready=False, created=datetime(2026, 1, 1, tzinfo=UTC), containers=(container,))
    return JobState(succeeded=True, pods=(pod,))


def test_the_last_word_of_the_sidecar_is_understood(tmp_path: Path) -> None:
    path = tmp_path / report.FILE
    path.write_text(report.Line(1, step=5).encode() + report.Line(1, step=9, release=RELEASE).encode())
    follower = Follower(path, 1)
    follower.finish()
    assert training.reported(ended(follower.last_word())) == RELEASE


def test_an_error_is_told_in_the_words_of_the_trainer(tmp_path: Path) -> None:
    path = tmp_path / report.FILE
    path.write_text(report.Line(0, error="data/0/new.jsonl, line 3: no JSON").encode())
    follower = Follower(path, 0)
    follower.finish()
    job = ended(follower.last_word())
    assert training.reported(job) == ""
    assert training.why(job) == "data/0/new.jsonl, line 3: no JSON"
