"""Benches report in the one schema, and say plainly whether an aim is met."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "bench" / "report.py"


@pytest.fixture
def report(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("bench_report_under_test", PATH)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.fixture
def figures(report):
    faster = report.Aim(text="≤ 1.2 × peer", reached=lambda ours, peer: ours <= 1.2 * peer)
    none = report.Aim(text="0", reached=lambda ours, _: ours == 0)
    return [
        report.Figure(metric="time", unit="s", ours=[3, 1, 2], peer=[2, 2, 2], peer_name="go", aim=faster),
        report.Figure(metric="writes", unit="", ours=[5.0], aim=none),
        report.Figure(metric="processor", unit="s", ours=[1.25]),
    ]


def test_published_figures_follow_the_schema(report, figures, capsys):
    report.publish("thing", figures)
    document = json.loads((report.ROOT / "build" / "bench" / "thing.json").read_text())
    assert document.keys() == {"name", "commit", "machine", "figures"}
    assert document["name"] == "thing"
    time, writes, processor = document["figures"]
    assert time == {
        "metric": "time",
        "unit": "s",
        "ours": {"min": 1, "median": 2, "max": 3},
        "peer": {"min": 2, "median": 2, "max": 2},
        "peer_name": "go",
        "aim": "≤ 1.2 × peer",
        "met": True,
        "runs": 3,
    }
    assert (writes["met"], writes["peer"], writes["runs"]) == (False, None, 1)
    assert (processor["met"], processor["aim"]) == (None, None)
    assert "| time | s | 2 (1 to 3) | 2 (2 to 2) (go) | ≤ 1.2 × peer | yes | 3 |" in capsys.readouterr().out


def test_the_table_has_a_cell_for_every_column(report, figures):
    rows = report.table(figures).splitlines()
    assert len({row.count("|") for row in rows}) == 1
    assert len(rows) == 2 + len(figures)
