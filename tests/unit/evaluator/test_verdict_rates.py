"""Verdicts keep their promise: at the limit, wrong ones are as rare as declared.

Without clusters every outcome of a small job is enumerated. With them jobs are simulated, with fixed
seeds, so that the outcome is the same everywhere; the bound is alpha and three standard errors of the
simulation.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from typing import NamedTuple

import pytest
from innervate_evaluator.intervals import Scored, difference, exact, tango
from innervate_evaluator.verdict import GateTest, Limit, Verdict, judge

ALPHA, MARGIN, ROUNDS = 0.05, 0.1, 1500
BOUND = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / ROUNDS)
LIMIT = Limit(GateTest.NON_INFERIOR, MARGIN)


class World(NamedTuple):
    """How two releases answer: shares of questions that only one answers, and how alike clusters are."""

    clusters: int
    size: int
    gained: float
    lost: float
    spread: float = 0.0
    """How far a cluster's own difference lies from the mean, up or down."""


def verdict(world: World, chance: random.Random) -> Verdict:
    pairs = []
    for cluster in range(world.clusters):
        shift = world.spread if chance.random() < 0.5 else -world.spread
        for _ in range(world.size):
            draw = chance.random()
            gained, lost = world.gained + shift / 2, world.lost - shift / 2
            value = 1.0 if draw < gained else -1.0 if draw < gained + lost else 0.0
            pairs.append(Scored(str(cluster), value))
    interval = difference(pairs, tail=ALPHA)
    return judge(LIMIT, low=interval.low, high=interval.high, n=interval.n)


def rates(world: World, seed: int) -> Counter[Verdict]:
    chance = random.Random(seed)
    return Counter(verdict(world, chance) for _ in range(ROUNDS))


@pytest.mark.parametrize("limit", [0.0, -0.02, -0.1, -0.3])
@pytest.mark.parametrize("n", [5, 12, 30])
def test_no_small_job_at_the_limit_is_wrong_more_often_than_declared(n: int, limit: float) -> None:
    outcomes = [
        (gained, lost, tango(gained, lost, n, tail=ALPHA))
        for gained in range(n + 1)
        for lost in range(n + 1 - gained)
    ]
    for step in range(1, 20):
        only_baseline = -limit + (1 + limit) / 2 * step / 20
        only_candidate = only_baseline + limit
        neither = 1 - only_baseline - only_candidate
        passed = failed = 0.0
        for gained, lost, interval in outcomes:
            ways = math.comb(n, gained) * math.comb(n - gained, lost)
            chance = ways * only_candidate**gained * only_baseline**lost * neither ** (n - gained - lost)
            passed += chance * (interval.low > limit)
            failed += chance * (interval.high < limit)
        assert passed <= ALPHA
        assert failed <= ALPHA


@pytest.mark.parametrize(
    "world",
    [
        World(clusters=20, size=6, gained=0.15, lost=0.25, spread=0.1),
        World(clusters=10, size=8, gained=0.2, lost=0.3, spread=0.2),
    ],
    ids=str,
)
def test_at_the_limit_wrong_verdicts_are_as_rare_as_declared(world: World) -> None:
    found = rates(world, seed=11)
    assert found[Verdict.PASSED] / ROUNDS <= BOUND
    assert found[Verdict.FAILED] / ROUNDS <= BOUND


def test_four_hundred_pairs_tell_good_from_bad() -> None:
    chance = random.Random(5)
    good = Counter(verdict(World(400, 1, 0.08, 0.08), chance) for _ in range(200))
    bad = Counter(verdict(World(400, 1, 0.05, 0.3), chance) for _ in range(200))
    assert good[Verdict.PASSED] > 0.95 * 200
    assert bad[Verdict.FAILED] > 0.95 * 200


def test_ignoring_clusters_would_break_the_promise() -> None:
    """The check itself can fail: the same worlds with every question as a unit of its own."""
    chance = random.Random(3)
    wrong = 0
    for _ in range(400):
        values = []
        for _cluster in range(10):
            shift = 0.35 if chance.random() < 0.5 else -0.35
            values += [-1.0 if chance.random() < 0.5 - shift else 1.0 for _ in range(8)]
        naive = difference([Scored(str(i), value) for i, value in enumerate(values)], tail=ALPHA)
        wrong += naive.low > 0 or naive.high < 0
    assert wrong / 400 > 4 * ALPHA


@pytest.mark.parametrize("n", [3, 20, 60])
def test_no_small_sample_leaves_out_the_true_mean_more_often_than_declared(n: int) -> None:
    bounds = [exact(right / n, n, tail=ALPHA) for right in range(n + 1)]
    for step in range(1, 50):
        share = step / 50
        chances = [math.comb(n, right) * share**right * (1 - share) ** (n - right) for right in range(n + 1)]
        assert sum(c for c, bound in zip(chances, bounds, strict=True) if bound.low > share) <= ALPHA
        assert sum(c for c, bound in zip(chances, bounds, strict=True) if bound.high < share) <= ALPHA
