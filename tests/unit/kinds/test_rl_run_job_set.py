"""A seed's JobSet has one allowance, however often it is restarted or held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from innervate_kinds.rl_run import names
from innervate_kinds.rl_run.model import RLRun
from innervate_kinds.rl_run.record import SeedState
from innervate_kinds.rl_run.room import ROOM
from kinds_cluster import CONFIG, Cluster

CASE = Path(__file__).parents[2] / "golden/kinds/input/rlrun/external_running.yaml"
CREATED = datetime(2026, 1, 15, 11, 50, tzinfo=UTC)
ALLOWED = 1000


class Seed:
    """A run of one seed and its JobSet, which follows its patches as its controller would."""

    def __init__(self, *, queue: bool = False) -> None:
        self.case: dict[str, Any] = yaml.safe_load(CASE.read_text())
        if not queue:
            self.case["resource"]["spec"].pop("queue")
        self.job_set = next(item for item in self.case["cluster"] if item["kind"] == "JobSet")
        spec = {"activeDeadlineSeconds": ALLOWED}
        self.job_set["spec"] = {"replicatedJobs": [{"name": "trainer", "template": {"spec": spec}}]}
        self.job_set["status"] = {"restarts": 3}
        self.now = CREATED

    def visit(self) -> tuple[SeedState, str | None]:
        run = RLRun.model_validate(self.case["resource"])
        observed = ROOM.observe(run, Cluster(self.case["cluster"]), {})
        for patch in ROOM.plan(run, observed, CONFIG, self.now).patches:
            self.job_set["spec"] |= patch.manifest["spec"]
            self.job_set["metadata"]["annotations"] = patch.manifest["metadata"].get("annotations", {})
        (seed,) = ROOM.status(run, observed, ROOM.plan(run, observed, CONFIG, self.now), (), self.now).seeds
        return seed.state, seed.message

    def suspend(self, *, suspend: bool) -> None:
        self.case["resource"]["spec"]["suspend"] = suspend
        self.visit()
        self.suspended(suspended=suspend)

    def suspended(self, *, suspended: bool) -> None:
        """What the JobSet's controller tells of it."""
        moment = self.now.isoformat()
        condition = {"type": "Suspended", "status": str(suspended), "lastTransitionTime": moment}
        self.job_set["status"]["conditions"] = [condition]

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_all_attempts_of_a_job_set_have_one_allowance() -> None:
    seed = Seed()
    seed.wait(ALLOWED)
    assert seed.visit() == (SeedState.RUNNING, None)
    seed.wait(1)
    assert seed.visit() == (SeedState.FAILED, "it took longer than its budget allows")


def test_time_that_a_job_set_is_held_is_not_counted_and_what_it_used_is() -> None:
    seed = Seed()
    for used in (300, 200):
        seed.wait(used)
        seed.suspend(suspend=True)
        seed.wait(100_000)
        assert seed.visit()[0] is not SeedState.FAILED
        seed.suspend(suspend=False)
    assert seed.job_set["metadata"]["annotations"] == {names.REMAINING: "500"}
    seed.wait(500)
    assert seed.visit()[0] is SeedState.RUNNING
    seed.wait(1)
    assert seed.visit()[0] is SeedState.FAILED


@pytest.mark.parametrize("told", [True, False])
def test_waiting_in_a_queue_is_not_counted(told: bool) -> None:
    seed = Seed(queue=True)
    seed.job_set["spec"]["suspend"] = True
    if told:
        seed.suspended(suspended=True)
    seed.wait(100_000)
    assert seed.visit()[0] is SeedState.PENDING
    seed.job_set["spec"]["suspend"] = False
    seed.suspended(suspended=False)
    seed.wait(ALLOWED)
    assert seed.visit()[0] is SeedState.RUNNING
    seed.wait(1)
    assert seed.visit()[0] is SeedState.FAILED
