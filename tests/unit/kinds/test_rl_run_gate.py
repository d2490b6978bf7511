"""The gate's bound is Student's, and what it decides is what its figures say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from innervate_kinds.rl_run import gate, student
from innervate_kinds.rl_run.model import Gate, GateMetric
from innervate_kinds.rl_run.record import SeedState, SeedStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("probability", "freedom", "value"),
    [
        # Abramowitz and Stegun (1964), table 26.10.
        (0.95, 1, 6.314),
        (0.95, 2, 2.920),
        (0.95, 4, 2.132),
        (0.95, 9, 1.833),
        (0.975, 5, 2.571),
        (0.99, 3, 4.541),
        (0.995, 30, 2.750),
        (0.9, 12, 1.356),
    ],
)
def test_quantiles_are_those_of_the_tables(probability: float, freedom: int, value: float) -> None:
    assert student.quantile(probability, freedom) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 31])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.999_999])
def test_a_quantile_is_where_the_distribution_has_its_probability(probability: float, freedom: int) -> None:
    found = student.distribution(student.quantile(probability, freedom), freedom)
    assert found == pytest.approx(probability, abs=1e-12)


def test_the_bound_of_a_worked_example() -> None:
    # Mean 482, s = 4.0620, 5 seeds: 482 - 2.1318 * 4.0620 / sqrt(5).
    assert student.lower_bound([477, 480, 482, 483, 488], 0.95) == pytest.approx(478.1273, abs=1e-3)


def seeds(*figures: tuple[str, str | None, str | None]) -> list[SeedStatus]:
    return [
        SeedStatus(seed=number, state=SeedState.SUCCEEDED, reward=reward, held_out=held_out, gap=gap)
        for number, (reward, held_out, gap) in enumerate(figures)
    ]


def test_seeds_without_spread_are_judged_by_their_mean() -> None:
    found = seeds(("475", None, None), ("475", None, None))
    assert gate.judge(Gate(threshold="475"), found, NOW).passed
    assert not gate.judge(Gate(threshold="475.000001"), found, NOW).passed


def test_a_high_mean_does_not_pass_where_seeds_differ_much() -> None:
    found = gate.judge(Gate(threshold="475"), seeds(("500", None, None), ("480", None, None)), NOW)
    assert (found.mean, found.passed) == ("490", False)
    assert float(found.low) < 475


def test_what_is_judged_and_chosen_is_the_metric() -> None:
    found = seeds(("0.9", "0.6", "0.3"), ("0.8", "0.79", "0.01"))
    held_out = Gate(metric=GateMetric.HELD_OUT, threshold="0")
    assert gate.judge(held_out, found, NOW).mean == "0.695"
    assert gate.best(held_out, found) == 1
    assert gate.best(Gate(threshold="0"), found) == 0


@pytest.mark.parametrize(("limit", "passed"), [("0.3", True), ("0.29", False)])
def test_the_largest_gap_counts_in_either_direction(limit: str, passed: bool) -> None:
    found = seeds(("0.9", "1.2", "-0.3"), ("0.9", "0.89", "0.01"))
    verdict = gate.judge(Gate(threshold="0", max_gap=limit), found, NOW)
    assert (verdict.gap, verdict.passed) == ("0.3", passed)
