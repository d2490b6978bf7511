"""EvalJobs: what the runner is told and tells, names, and few writes in a life."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from innervate_evaluator.config import RunnerConfig
from innervate_evaluator.intervals import Interval
from innervate_evaluator.results import Comparison, Metric, Results
from innervate_evaluator.verdict import Verdict
from innervate_kinds.api.conditions import merge
from innervate_kinds.api.kind import JOB
from innervate_kinds.api.reader import ProbeResult
from innervate_kinds.eval_job.model import EvalJob, EvalJobStatus
from innervate_kinds.eval_job.names import Names
from innervate_kinds.eval_job.outcome import Result
from innervate_kinds.eval_job.reasons import Reason
from innervate_kinds.eval_job.room import ROOM
from kinds_cluster import CONFIG, Cluster

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/golden/kinds/input/evaljob"
NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


def golden(name: str) -> dict[str, Any]:
    return yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())


def runner_config(name: str) -> RunnerConfig:
    case = golden(name)
    job = EvalJob.model_validate(case["resource"])
    plan = ROOM.plan(job, ROOM.observe(job, Cluster(case["cluster"]), {}), CONFIG, NOW)
    texts = [
        child.manifest["data"]["config.json"]
        for child in plan.apply
        if "config.json" in child.manifest.get("data", {})
    ]
    assert len(texts) == 1
    return RunnerConfig.model_validate_json(texts[0])


@pytest.mark.parametrize("name", ["minimal", "typical", "full"])
def test_the_runner_reads_its_configuration(name: str) -> None:
    config = runner_config(name)
    assert config.target.endpoint == "https://assistant-inferencepool.shop.svc:8443"
    assert config.target.model == "assistant"


def test_every_field_reaches_the_runner() -> None:
    config = runner_config("full")
    assert config.dataset.path == Path("/var/lib/innervate/dataset/assistant/golden.jsonl")
    assert config.baseline is not None
    assert (config.target.release, config.baseline.release) == ("assistant-2", "assistant-1")
    assert [scorer.type for scorer in config.scorers] == ["Exact", "Contains", "Numeric", "Regex"]
    assert config.gate is not None
    assert (config.gate.test, config.gate.min_samples) == ("NonInferior", 200)
    run = config.run
    assert (run.parallelism, run.seed, run.max_tokens) == (8, 42, 128)
    assert (run.request_seconds, run.retry_seconds, str(run.max_error_share)) == (30, 300, "0.01")


def test_every_reason_of_the_runner_is_one_of_the_kind() -> None:
    sources = (ROOT / "services/evaluator/src/innervate_evaluator").glob("*.py")
    text = "".join(path.read_text() for path in sources)
    reasons = set(re.findall(r'RunFailed\(\s*"(\w+)"', text)) | set(re.findall(r'"reason": "(\w+)"', text))
    assert len(reasons) > 8
    assert reasons <= {reason.value for reason in Reason}


def test_the_longest_result_fits_a_termination_message_and_is_understood() -> None:
    interval = Interval(-0.99999, -0.99999, -0.99999, 100_000)
    names = [f"{'m' * 60}-{number:02}" for number in range(16)]
    found = Results(
        summary=tuple(Metric(name, interval) for name in names),
        comparison=Comparison(names[0], interval, 0.99999),
        verdict=Verdict.UNDERPOWERED,
        samples=100_000,
        answered=100_000,
        errors=100_000,
        releases={},
    )
    text = json.dumps(found.document(), separators=(",", ":"))
    assert len(text.encode()) <= 4096
    result = Result.model_validate(json.loads(text))
    assert [each.metric for each in result.summary] == names
    assert result.verdict == "Underpowered"


@given(
    st.from_regex(
        r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?){0,3}", fullmatch=True
    )
)
def test_names_of_children_are_labels_and_differ(name: str) -> None:
    names = Names.of(name)
    assert all(re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", each) for each in names)
    assert len(set(names)) == len(names)


class Life:
    """One EvalJob, its status written as the runtime does: only where it differs."""

    def __init__(self) -> None:
        self.manifest = golden("typical")["resource"]
        self.written: list[EvalJobStatus] = []
        self.planned: list[str] = []

    def visit(
        self, cluster: list[dict[str, Any]], *, seconds: float, asked: int | None = None
    ) -> EvalJobStatus:
        job = EvalJob.model_validate(self.manifest)
        now = NOW + timedelta(seconds=seconds)
        told = {"asked": asked, "total": 80, "errors": 0}
        probes = {} if asked is None else {"progress/p1": ProbeResult(time=now, value=told)}
        observed = ROOM.observe(job, Cluster(cluster), probes)
        plan = ROOM.plan(job, observed, CONFIG, now)
        self.planned = [child.kind.kind for child in plan.apply]
        status = ROOM.status(job, observed, plan, (), now)
        previous = job.status.conditions if job.status else ()
        conditions = merge(previous, status.conditions, generation=1, now=now)
        status = status.model_copy(update={"conditions": conditions})
        if status != job.status:
            self.written.append(status)
            self.manifest["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        return status


def test_a_life_is_two_writes_and_its_end_stays() -> None:
    life = Life()
    waiting = golden("typical")["cluster"]
    running = golden("running")["cluster"]
    pending = copy.deepcopy(running)
    pending[-1]["status"] = {"phase": "Pending"}
    pending[-1]["metadata"]["creationTimestamp"] = (NOW + timedelta(seconds=1)).isoformat()
    life.visit(waiting, seconds=0)
    assert JOB.kind in life.planned
    life.visit(pending, seconds=2)
    life.visit(running, seconds=10)
    life.visit(running, seconds=20)
    status = life.visit(golden("passed")["cluster"], seconds=30)
    assert status.verdict == "Passed"
    assert len(life.written) == 2
    for gone in (waiting, [], golden("failed")["cluster"]):
        assert life.visit(gone, seconds=1000).verdict == "Passed"
        assert life.planned == []
    assert len(life.written) == 2


def test_progress_is_written_once_a_minute_and_gone_at_the_end() -> None:
    life = Life()
    running = golden("running")["cluster"]
    told = {
        seconds: life.visit(running, seconds=seconds, asked=seconds).progress for seconds in range(0, 180, 15)
    }
    assert [found.asked for found in told.values() if found] == [0] * 4 + [60] * 4 + [120] * 4
    assert len(life.written) == 3
    assert life.visit(running, seconds=240, asked=120).progress == told[165], "nothing was asked since"
    assert life.visit(running, seconds=250).progress == told[165], "the runner is asked no more"
    assert life.visit(golden("passed")["cluster"], seconds=260).progress is None


def test_a_lost_node_is_no_verdict() -> None:
    """A pod that was cut off says nothing; the job goes on, and its status does not change."""
    life = Life()
    life.visit(golden("running")["cluster"], seconds=0)
    cut = copy.deepcopy(golden("running")["cluster"])
    cut[-1]["status"]["phase"] = "Failed"
    cut[-1]["status"]["containerStatuses"][0]["state"] = {"terminated": {"reason": "Error", "exitCode": 137}}
    cut[-2]["status"] |= {"failed": 1}
    status = life.visit(cut, seconds=5)
    assert status.end_time is None
    assert JOB.kind in life.planned
