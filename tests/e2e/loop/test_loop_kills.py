"""A candidate on its way through a pool is taken back, whatever is killed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import loop_letters
import pytest
from loop_callers import Callers
from loop_kills import OPERATOR_PODS, Blow, Killer
from loop_pool import GATEWAY, REDIS, LoopPool
from loop_rollouts import Rollouts
from loop_watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(1800)]

BLOWS = (
    Blow(number=1, target=GATEWAY, step="Canary", delay=0.5, lot=0.0, percent=20),
    Blow(number=2, target=OPERATOR_PODS, step="Gating", delay=1.0, lot=0.0, percent=50),
    Blow(number=3, target=REDIS, step="Canary", delay=0.2, lot=0.0, percent=50),
)


@pytest.fixture
def pool(lab: Lab, tmp_path: Path) -> Iterator[LoopPool]:
    with lab.namespace("loop") as namespace:
        pool = LoopPool(lab, namespace)
        loop_letters.release(pool, tmp_path)
        pool.serve(loop_letters.GOOD, context=loop_letters.CONTEXT)
        yield pool


def test_the_bad_candidate_is_taken_back_whatever_is_killed(pool: LoopPool) -> None:
    callers, watch = Callers(pool, loop_letters.LIVE, seed=1), Watch(pool)
    with callers.running(), watch.running():
        killer = Killer(
            Rollouts(pool, watch, questions=loop_letters.GOLDEN),
            callers,
            stable=loop_letters.GOOD,
            bad=loop_letters.BAD,
            unsigned=loop_letters.UNSIGNED,
        )
        for blow in BLOWS:
            done = killer.play(blow)
            assert done.victim, done
            assert done.answered, done
            assert not done.violations, (done, pool.lab.story(pool.namespace))
