"""A trainer that is killed without warning goes on as if nothing had happened."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from environment_process import environment_server
from rl_seed import Seed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.faults

SECONDS = 250.0
KILLS = 3
BUDGET = 32 * 120
CHANGES = {"budget": {"steps": BUDGET}, "checkpoint": {"everySteps": 32}}
"""A checkpoint after every update: kills meet every part of one."""


def finish(seed: Seed, *, attempt: int = 0, **changes: Any) -> None:
    assert seed.start(attempt=attempt, **CHANGES, **changes).wait(SECONDS) == 0


def kill_at_random_moments(seed: Seed, choose: random.Random, **changes: Any) -> int:
    """Kill attempts, each when it has done some steps more than the last; gives how many there were."""
    wanted = 0
    for attempt in range(KILLS):
        wanted += choose.randrange(BUDGET // (2 * KILLS))
        process = seed.start(attempt=attempt, **CHANGES, **changes)
        try:
            wait_for(lambda: process.poll() is not None or done(seed) >= wanted)  # noqa: B023  used at once
            time.sleep(choose.random() * 0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if process.returncode != -signal.SIGKILL:
            return attempt
    return KILLS


def done(seed: Seed) -> int:
    """Steps that were told of; -1 before any."""
    return max((line["step"] for line in seed.report()), default=-1)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


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
    assert kill_at_random_moments(killed, random.Random(7)) > 0
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
        assert kill_at_random_moments(killed, random.Random(8), **where) > 0
        finish(killed, attempt=KILLS, **where)
    calm, shaken = whole.result(), killed.result()
    assert shaken["parameters"] == calm["parameters"]
    assert shaken["reward"] == calm["reward"]
    assert killed.curves() == whole.curves()
