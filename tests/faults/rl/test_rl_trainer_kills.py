"""A trainer that is killed without warning goes on as if nothing had happened."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING, Any

import dying_trainer
import pytest
from environment_process import environment_server
from rl_seed import Seed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.faults

SECONDS = 250.0
KILLS = 3
BUDGET = 32 * 120
CHANGES = {"budget": {"steps": BUDGET}, "checkpoint": {"everySteps": 32}}
"""A checkpoint after every update: kills meet every part of one."""


def finish(seed: Seed, *, attempt: int = 0, **changes: Any) -> None:
    assert seed.start(attempt=attempt, **CHANGES, **changes).wait(SECONDS) == 0


def kill_at_random_moments(seed: Seed, choose: random.Random, **changes: Any) -> None:
    """Kill attempts, each when it has done some steps more than the last."""
    wanted = 0
    for attempt in range(KILLS):
        wanted += choose.randrange(BUDGET // (2 * KILLS))
        command = (*dying_trainer.COMMAND, str(wanted), str(choose.random() * 0.05))
        process = seed.start(attempt=attempt, command=command, **CHANGES, **changes)
        assert process.wait(SECONDS) == -signal.SIGKILL
    assert {line["attempt"] for line in seed.report()} == set(range(KILLS)), "none died before it began"


@pytest.fixture
def whole(tmp_path: Path) -> Seed:
    (tmp_path / "whole").mkdir()
    return Seed(tmp_path / "whole", tmp_path / "compiled")


@pytest.fixture
def killed(tmp_path: Path) -> Seed:
    (tmp_path / "killed").mkdir()
    return Seed(tmp_path / "killed", tmp_path / "compiled")


@pytest.mark.timeout(900)
def test_a_killed_trainer_ends_in_the_undisturbed_ones_parameters(whole: Seed, killed: Seed) -> None:
    finish(whole)
    kill_at_random_moments(killed, random.Random(7))
    finish(killed, attempt=KILLS)
    assert killed.result() == whole.result()
    assert killed.curves() == whole.curves()
    last = killed.report()[-1]
    assert last["final"]["result"] == whole.result()


@pytest.mark.timeout(900)
def test_so_does_one_that_practises_through_the_service(whole: Seed, killed: Seed) -> None:
    with environment_server("CartPole-v1", instancesPerProcess=8) as server:
        where = {"environment": {"name": "cart", "endpoint": server.endpoint}}
        finish(whole, **where)
        kill_at_random_moments(killed, random.Random(8), **where)
        finish(killed, attempt=KILLS, **where)
    calm, shaken = whole.result(), killed.result()
    assert shaken["parameters"] == calm["parameters"]
    assert shaken["reward"] == calm["reward"]
    assert killed.curves() == whole.curves()
