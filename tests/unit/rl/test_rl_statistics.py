"""Intervals and gates, beside SciPy's."""

import math

import pytest
from innervate_kinds.rl_run import student
from innervate_rl.statistics import gate, interval, lower_bound
from scipy import stats

VALUES = [483.0, 500.0, 476.5, 491.25, 500.0]


def test_intervals_are_those_of_students_distribution():
    mean = interval(VALUES)
    low, high = stats.t.interval(0.95, len(VALUES) - 1, loc=mean.value, scale=stats.sem(VALUES))
    assert mean.value == pytest.approx(490.15)
    assert (mean.low, mean.high) == pytest.approx((low, high))


def test_the_lower_bound_is_the_one_of_a_one_sided_test():
    bound = lower_bound(VALUES, confidence=0.95)
    assert stats.ttest_1samp(VALUES, bound, alternative="greater").pvalue == pytest.approx(0.05)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_the_operators_gate_has_the_same_bound(confidence):
    for values in (VALUES, VALUES[:2], [500.0] * 3):
        expected = student.lower_bound(values, confidence)
        assert lower_bound(values, confidence=confidence) == pytest.approx(expected, abs=1e-6)


def test_values_without_spread_are_their_own_bounds():
    assert interval([500.0] * 5) == (500, 500, 500)
    assert lower_bound([500.0] * 5) == 500


def test_one_seed_proves_nothing():
    assert lower_bound([500.0]) == -math.inf
    assert not gate([500.0], threshold=-1e9).passed
    assert interval([500.0]) == (500, 500, 500)


def test_a_gate_looks_at_the_bound_and_not_at_the_mean():
    found = gate(VALUES, threshold=485)
    assert found.mean > 485 > found.low
    assert not found.passed
    assert gate(VALUES, threshold=found.low).passed


def test_no_values_have_no_mean():
    with pytest.raises(ValueError, match="no values"):
        interval([])
