"""Quantiles and intervals against published values and against their own definitions."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from innervate_evaluator.intervals import Scored, detectable, difference, exact, mean, tango
from innervate_evaluator.quantiles import normal_quantile, t_probability, t_quantile
from innervate_evaluator.verdict import GateTest, Limit, Verdict, judge

Z = normal_quantile(0.975)


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
    [
        (0.95, 1, 6.314),
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.95, 5, 2.015),
        (0.975, 10, 2.228),
        (0.99, 30, 2.457),
        (0.975, 100, 1.984),
    ],
)
def test_quantiles_of_t_are_those_of_the_table(probability: float, freedom: int, value: float) -> None:
    assert round(t_quantile(probability, freedom), 3) == value
    assert t_probability(t_quantile(probability, freedom), freedom) == pytest.approx(probability)


def test_exact_intervals_are_the_published_ones() -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 5."""
    published = {
        (81, 263): (0.2527, 0.3676),
        (15, 148): (0.0578, 0.1617),
        (0, 20): (0.0, 0.1684),
        (1, 29): (0.0009, 0.1776),
    }
    for (right, n), (low, high) in published.items():
        interval = exact(right / n, n, tail=0.025)
        assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


counts = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60)).map(
    lambda drawn: (drawn[0], drawn[1], max(1, sum(drawn)))
)


def likeliest(gained: int, lost: int, n: int, delta: float) -> float:
    """Probability of "only the baseline is right" at its likeliest, by search instead of by formula."""
    low, high = max(0.0, -delta), (1 - delta) / 2

    def logarithm(q: float) -> float:
        parts = ((gained, q + delta), (lost, q), (n - gained - lost, 1 - 2 * q - delta))
        return sum(count * math.log(max(share, 1e-300)) for count, share in parts if count)

    golden = (math.sqrt(5) - 1) / 2
    for _ in range(200):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if logarithm(left) < logarithm(right):
            low = left
        else:
            high = right
    return (low + high) / 2


@given(counts)
def test_tango_inverts_the_score_test(drawn: tuple[int, int, int]) -> None:
    gained, lost, n = drawn
    interval = tango(gained, lost, n, tail=0.025)
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    for bound, wanted, correction in ((interval.low, Z, -1), (interval.high, -Z, 1)):
        assume(abs(bound) < 0.999)
        variance = n * (2 * likeliest(gained, lost, n, bound) + bound * (1 - bound))
        distance = gained - lost - n * bound + correction
        assert distance / math.sqrt(variance) == pytest.approx(wanted, abs=1e-3)


@given(counts)
def test_tango_agrees_with_the_corrected_mcnemar_about_no_difference(drawn: tuple[int, int, int]) -> None:
    gained, lost, n = drawn
    assume(gained + lost > 0)
    statistic = (abs(gained - lost) - 1) / math.sqrt(gained + lost)
    assume(abs(statistic - Z) > 1e-6)
    interval = tango(gained, lost, n, tail=0.025)
    assert (not interval.low < 0 < interval.high) == (statistic > Z)


def scored(*values: float, clusters: int = 0) -> list[Scored]:
    return [
        Scored(str(number % clusters if clusters else number), value) for number, value in enumerate(values)
    ]


def test_nothing_looks_certain_from_a_handful() -> None:
    for interval in (
        mean(scored(1, 1, 1), tail=0.05),
        mean(scored(1, 1, 1, 1, clusters=2), tail=0.05),
        mean(scored(0.5, 0.5, 0.5), tail=0.05),
    ):
        assert interval.low < interval.value - 0.2
    for interval in (
        difference(scored(0, 0, 0), tail=0.05),
        difference(scored(0, 0, 0, 0, clusters=2), tail=0.05),
        difference(scored(0.1, 0.1, 0.1), tail=0.05),
    ):
        assert interval.low < interval.value - 0.2
        assert interval.high > interval.value + 0.2


def test_one_cluster_says_nothing() -> None:
    interval = difference(scored(1, 1, 1, 1, clusters=1), tail=0.05)
    assert (interval.low, interval.high, interval.n) == (-1, 1, 1)


def test_clusters_count_once_whatever_their_size() -> None:
    values = [Scored("large", 1.0)] * 90 + [Scored("small", 0.0)] * 10 + [Scored("third", 0.0)]
    interval = mean(values, tail=0.05)
    assert interval.value == pytest.approx(1 / 3)
    assert interval.n == 3
    assert interval.high == 1


def test_twice_the_questions_detect_smaller_differences() -> None:
    found = []
    for n in (50, 100, 200, 400):
        values = [1, -1, *[0] * 8] * (n // 10)
        found.append(detectable(difference(scored(*values), tail=0.05), tail=0.05))
    assert found == sorted(found, reverse=True)
    assert found[-1] <= found[0] / math.sqrt(8), "the correction for continuity fades, too"


@pytest.mark.parametrize(
    ("test", "low", "high", "verdict"),
    [
        (GateTest.NON_INFERIOR, -0.01, 0.05, Verdict.PASSED),
        (GateTest.NON_INFERIOR, -0.02, 0.05, Verdict.UNDERPOWERED),
        (GateTest.NON_INFERIOR, -0.05, 0.01, Verdict.UNDERPOWERED),
        (GateTest.NON_INFERIOR, -0.05, -0.021, Verdict.FAILED),
        (GateTest.SUPERIOR, 0.021, 0.05, Verdict.PASSED),
        (GateTest.SUPERIOR, 0.01, 0.05, Verdict.UNDERPOWERED),
        (GateTest.SUPERIOR, -0.05, 0.019, Verdict.FAILED),
    ],
)
def test_verdicts_follow_the_bounds(test: GateTest, low: float, high: float, verdict: Verdict) -> None:
    limit = Limit(test, 0.02)
    assert judge(limit, low=low, high=high, n=10) is verdict
    few = Limit(test, 0.02, min_samples=11)
    assert judge(few, low=low, high=high, n=10) is Verdict.UNDERPOWERED
