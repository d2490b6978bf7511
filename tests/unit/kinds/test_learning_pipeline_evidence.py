"""Evidence from counts: against brute force, at the edges, and under optional stopping."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from innervate_kinds.learning_pipeline.evidence import (
    Counts,
    against,
    inferior,
    interval,
    non_inferior,
)

ALPHA = 0.05
LIMIT = -math.log(ALPHA)
MARGINS = st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.5, 1.0])


@st.composite
def counts(draw: st.DrawFn, most: int = 2000) -> Counts:
    units = draw(st.integers(0, most))
    return Counts(units, draw(st.integers(0, units)))


def log_likelihood(arm: Counts, probability: float) -> float:
    bad = arm.units - arm.successes
    if (probability <= 0 and arm.successes) or (probability >= 1 and bad):
        return -math.inf
    good = arm.successes * math.log(probability) if arm.successes else 0.0
    return good + (bad * math.log1p(-probability) if bad else 0.0)


def mixture(arm: Counts, cells: int = 20_000) -> float:
    """Likelihood averaged over the arcsine distribution, by the midpoint rule in its own angle."""
    values = [
        log_likelihood(arm, math.sin(math.pi / 2 * (index + 0.5) / cells) ** 2) for index in range(cells)
    ]
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values) / cells)


@settings(max_examples=25)
@given(counts(60), counts(60), st.floats(-0.99, 0.99))
def test_it_is_the_mixture_over_the_largest_likelihood(
    candidate: Counts, stable: Counts, difference: float
) -> None:
    def value(probability: float) -> float:
        moved = min(max(probability + difference, 0.0), 1.0)
        return log_likelihood(candidate, moved) + log_likelihood(stable, probability)

    # It is concave along the border: thirds of the interval can be left out one after another.
    low, high = max(0.0, -difference), min(1.0, 1 - difference)
    best = max(value(low), value(high))
    for _ in range(120):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        best = max(best, value(first), value(second))
        low, high = (first, high) if value(first) < value(second) else (low, second)
    expected = mixture(candidate) + mixture(stable) - best
    assert against(candidate, stable, difference=difference) == pytest.approx(expected, abs=2e-3)


@given(counts(), counts(), MARGINS)
def test_both_sides_are_never_shown_at_once(candidate: Counts, stable: Counts, margin: float) -> None:
    worse = inferior(candidate, stable, margin=margin)
    not_worse = non_inferior(candidate, stable, margin=margin)
    assert min(worse, not_worse) <= 1e-9
    assert not (worse >= LIMIT and not_worse >= LIMIT)


@given(counts(), counts(), st.sampled_from([0.02, 0.05, 0.1]))
def test_evidence_and_interval_say_the_same(candidate: Counts, stable: Counts, margin: float) -> None:
    ends = interval(candidate, stable, alpha=ALPHA)
    assert ends.low <= candidate.rate - stable.rate <= ends.high
    near = 1e-5
    if ends.high < -margin - near:
        assert inferior(candidate, stable, margin=margin) >= LIMIT
    if ends.high > -margin + near:
        assert inferior(candidate, stable, margin=margin) < LIMIT
    if ends.low > -margin + near:
        assert non_inferior(candidate, stable, margin=margin) >= LIMIT
    if ends.low < -margin - near:
        assert non_inferior(candidate, stable, margin=margin) < LIMIT


@given(counts(200), counts(200), MARGINS)
def test_a_success_less_takes_no_detection_back(candidate: Counts, stable: Counts, margin: float) -> None:
    if inferior(candidate, stable, margin=margin) < LIMIT or not candidate.successes:
        return
    worse = Counts(candidate.units, candidate.successes - 1)
    assert inferior(worse, stable, margin=margin) >= LIMIT


@given(counts(), counts())
def test_with_no_margin_the_arms_may_change_places(candidate: Counts, stable: Counts) -> None:
    assert inferior(candidate, stable, margin=0.0) == pytest.approx(
        non_inferior(stable, candidate, margin=0.0), abs=1e-7
    )
    ends, turned = interval(candidate, stable, alpha=ALPHA), interval(stable, candidate, alpha=ALPHA)
    assert ends.low == pytest.approx(-turned.high, abs=1e-6)


@given(counts(), counts(), MARGINS)
def test_success_and_failure_may_change_places(candidate: Counts, stable: Counts, margin: float) -> None:
    def turned(arm: Counts) -> Counts:
        return Counts(arm.units, arm.units - arm.successes)

    assert against(candidate, stable, difference=-margin) == pytest.approx(
        against(turned(candidate), turned(stable), difference=margin), abs=1e-6
    )


def test_nothing_seen_is_no_evidence() -> None:
    none = Counts(0, 0)
    assert inferior(none, none, margin=0.05) == pytest.approx(0.0)
    assert interval(none, none, alpha=ALPHA) == (-1.0, 1.0)
    only_stable = Counts(1_000_000, 900_000)
    assert inferior(none, only_stable, margin=0.05) <= 0


@pytest.mark.parametrize("units", [1, 1_000, 10**9])
def test_extreme_counts_stay_finite(units: int) -> None:
    for first, second in itertools.product((0, units), repeat=2):
        candidate, stable = Counts(units, first), Counts(units, second)
        assert math.isfinite(inferior(candidate, stable, margin=0.05))
        ends = interval(candidate, stable, alpha=ALPHA)
        assert -1.0 <= ends.low <= ends.high <= 1.0
    worse, sound = Counts(10**9, 10**9 // 2), Counts(10**9, 6 * 10**8)
    assert inferior(worse, sound, margin=0.05) > 1e6


def test_evidence_grows_with_what_is_seen() -> None:
    values = [
        inferior(Counts(units, units // 2), Counts(units, units * 4 // 5), margin=0.05)
        for units in (10, 20, 50, 100, 500, 2000)
    ]
    assert values == sorted(values)
    assert values[-1] > LIMIT > values[0]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.95])
def test_its_mean_under_the_null_is_at_most_one(rate: float) -> None:
    """On the border of the null, where it is largest; the sum over all outcomes is exact."""
    margin, units, others = 0.05, 12, 20
    mean = 0.0
    for good in range(units + 1):
        first = math.comb(units, good) * (rate - margin) ** good * (1 - rate + margin) ** (units - good)
        for other in range(others + 1):
            second = math.comb(others, other) * rate**other * (1 - rate) ** (others - other)
            value = inferior(Counts(units, good), Counts(others, other), margin=margin)
            mean += first * second * math.exp(value)
    assert mean <= 1.0


@pytest.mark.parametrize("test", [inferior, non_inferior])
def test_looking_after_every_unit_keeps_the_promise(test: type) -> None:
    """On the border, two hundred rollouts of six hundred units each, the share of the candidate rising."""
    chance = random.Random(7)
    wrong = 0
    for _ in range(200):
        seen = {True: [0, 0], False: [0, 0]}
        for unit in range(600):
            of_candidate = chance.random() < (0.1 if unit < 300 else 0.5)
            arm = seen[of_candidate]
            arm[0] += 1
            arm[1] += chance.random() < (0.75 if of_candidate else 0.8)
            if test(Counts(*seen[True]), Counts(*seen[False]), margin=0.05) >= LIMIT:
                wrong += 1
                break
    assert wrong / 200 <= ALPHA
