"""The bench of kills draws its blows by a seed, and sees what a run left otherwise than it must."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from experience_steps import POLICY, World
from innervate_rl.experience import ExperienceWriter, Keep, Origin

if TYPE_CHECKING:
    from types import ModuleType

BENCH = Path(__file__).resolve().parents[2] / "bench" / "rl"
STEPS = 180


@pytest.fixture
def blows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("kills_blows")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("kills_runs")


def seed(root: Path, *, run: str = "team/run", attempt: int = 0, forgotten: int = 0, draw: int = 0) -> Path:
    """What a seed leaves: two rollouts, and curves of which the first points may be missing."""
    origin = Origin(run, 0, attempt, {"environment": "sha256:" + "e" * 64})
    root.mkdir()
    with ExperienceWriter(root / "experience", origin, keep=Keep.ALL) as writer:
        for number in range(2):
            writer.append_rollout(World().steps(draw + number, 30), iteration=number, policy=POLICY)
            writer.flush()
    points = [{"step": 90, "time": 1.0 + attempt, "loss": 0.5}, {"step": STEPS, "time": 2.0, "loss": 0.4}]
    (root / "curves.jsonl").write_text("".join(json.dumps(point) + "\n" for point in points[forgotten:]))
    rollouts = {"valid": 9, "infrastructure": attempt, "verifier": 0}
    result: dict[str, Any] = {"parameters": "sha256:" + "b" * 64, "steps": STEPS, "rollouts": rollouts}
    (root / "result.json").write_text(json.dumps(result))
    return root


def test_the_same_seed_draws_the_same_blows_and_meets_all_targets_alike(blows: ModuleType) -> None:
    drawn = blows.blows(7, 20)
    assert drawn == blows.blows(7, 20) != blows.blows(8, 20)
    assert drawn[:5] == blows.blows(7, 5)
    assert Counter(blow.target for blow in drawn) == dict.fromkeys(blows.PLACES, 4)
    assert all((10 <= blow.seconds <= 40) is ("network" in blow.target) for blow in drawn)


def test_another_run_and_attempt_leave_the_same_and_another_rollout_does_not(
    runs: ModuleType, blows: ModuleType, tmp_path: Path
) -> None:
    calm = runs.read(seed(tmp_path / "calm"))
    shaken = runs.read(seed(tmp_path / "shaken", run="team/other", attempt=1))
    assert (shaken.outcome, shaken.infrastructure) == (calm.outcome, 1)
    assert calm.outcome.rows == STEPS
    assert blows.wrong(shaken, calm.outcome, STEPS) == []
    other = runs.read(seed(tmp_path / "other", draw=5))
    assert [each.partition(":")[0] for each in blows.wrong(other, calm.outcome, STEPS)] == ["experience"]
    short = runs.read(seed(tmp_path / "short", forgotten=1))
    assert [each.partition(":")[0] for each in blows.wrong(short, calm.outcome, STEPS)] == ["curve"]


def test_whatever_must_not_be_is_told(runs: ModuleType, blows: ModuleType, tmp_path: Path) -> None:
    calm = runs.read(seed(tmp_path / "calm"))
    worse = calm._replace(valid=0, doubled=3, outcome=calm.outcome._replace(steps=STEPS + 1, parameters="x"))
    told = blows.wrong(worse, calm.outcome, STEPS)
    for words in ("without a valid episode", f"{STEPS + 1} steps of {STEPS}", "twice", "parameters: x"):
        assert any(words in each for each in told), (words, told)
