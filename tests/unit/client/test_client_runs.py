"""Curves of runs: what is new, what an attempt takes back, and how they look in a terminal."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from innervate.cli import watching
from innervate.cli.watching import figure
from innervate.plot import Series, plot, spark
from innervate.runs import Curve, Outcome
from rich.console import Console


def points(*steps: int) -> list[dict[str, Any]]:
    return [{"step": step, "metrics": {"reward": float(step)}} for step in steps]


def test_only_new_points_are_told() -> None:
    curve = Curve()
    assert curve.take(points(1, 2)) == points(1, 2)
    assert curve.take(points(1, 2, 3)) == points(3)
    assert curve.take(points(1, 2, 3)) == []
    assert curve.take([]) == []
    assert curve.series("reward") == ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])


def test_another_attempt_takes_back_what_it_does_again() -> None:
    curve = Curve()
    curve.take(points(1, 2, 3, 4, 5))
    assert curve.take(points(3)) == points(3)
    assert curve.steps == [1, 2, 3]
    assert curve.take(points(3, 4)) == points(4)


def test_a_metric_that_is_told_at_times_has_only_these_points() -> None:
    curve = Curve()
    curve.take([{"step": 1, "metrics": {"reward": 1.0}}, {"step": 2, "metrics": {"heldOut": 0.5}}])
    assert curve.series("heldOut") == ([2.0], [0.5])
    assert curve.series("nothing") == ([], [])


def text(drawn: Any) -> list[str]:
    return ["".join(cell.character for cell in row) for row in drawn.rows]


def test_a_rising_curve_goes_from_bottom_left_to_top_right() -> None:
    drawn = plot([Series(range(100), range(100), "red")], width=20, height=5)
    assert drawn is not None
    rows = text(drawn)
    assert [len(row) for row in rows] == [20] * 5
    assert (drawn.low, drawn.high, drawn.begin, drawn.end) == (0, 99, 0, 99)
    starts = [len(row) - len(row.lstrip(" ")) for row in rows]
    assert starts == sorted(starts, reverse=True)
    assert " " not in (rows[-1][0], rows[0][-1])
    assert {cell.style for row in drawn.rows for cell in row} == {"red", ""}


def test_a_flat_curve_is_in_the_middle_and_a_point_alone_is_seen() -> None:
    flat = plot([Series([0, 1, 2], [5, 5, 5], "")], width=10, height=5)
    assert flat is not None
    assert [row.strip() != "" for row in text(flat)] == [False, False, True, False, False]
    point = plot([Series([7], [1], "")], width=10, height=5)
    assert point is not None
    assert sum(character != " " for row in text(point) for character in row) == 1


def test_points_that_are_no_numbers_are_left_out() -> None:
    assert plot([Series([1, 2], [math.nan, math.inf], "")], width=10, height=5) is None
    assert plot([], width=10, height=5) is None
    assert spark([math.nan], 10) == ""


def test_a_sparkline_has_the_height_of_its_values() -> None:
    assert spark([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert len(spark(list(range(1000)), 20)) <= 20
    assert spark([3, 3], 8) == "▁▁"


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.123456, "0.1235"), (499.96, "500"), (12345.6, "12,346")]
)
def test_figures_are_short(value: float | None, shown: str) -> None:
    assert figure(value) == shown


RUN: dict[str, Any] = {
    "metadata": {"namespace": "team", "name": "cartpole"},
    "spec": {
        "algorithm": {"name": "GRPO"},
        "environmentRef": {"name": "reversal"},
        "budget": {"steps": 100},
        "seeds": 3,
    },
    "status": {
        "steps": 150,
        "seeds": [
            {
                "seed": 0,
                "state": "Succeeded",
                "steps": 100,
                "reward": "0.9",
                "heldOut": "0.85",
                "gap": "0.05",
            },
            {"seed": 1, "state": "Running", "steps": 40},
        ],
    },
}


def shown(value: Any) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    console.print(value)
    return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def test_each_seed_has_a_line_with_what_is_known_of_it() -> None:
    curve = Curve()
    curve.take(points(10, 50))
    lines = shown(watching.picture(RUN, {1: curve}, 120, "no curves: not allowed")).splitlines()
    assert lines[0] == "team/cartpole  GRPO in reversal  150 of 300 steps"
    words = {line.split()[0]: line.split() for line in lines if line.strip()}
    first, second, third = (words[seed] for seed in "012")
    assert first == ["0", "Succeeded", "100", "0.9", "0.85", "0.05"]
    assert second[:4] == ["1", "Running", "50", "50"]
    assert third[:4] == ["2", "Pending", "0", "–"]
    assert lines[-1] == "no curves: not allowed"


def test_the_last_word_names_gate_and_release() -> None:
    gate = {"metric": "HeldOut", "mean": "0.9", "low": "0.8", "threshold": "0.7", "passed": True}
    run = RUN | {"status": {"gate": gate, "release": "reverser"}}
    said = shown(watching.ended(run, Outcome(True, "GatePassed", "as it should")))
    assert said.splitlines() == [
        "GatePassed: as it should",
        "gate: HeldOut mean 0.9, lower bound 0.8, must reach 0.7: passed",
        "published as ModelRelease reverser",
    ]
