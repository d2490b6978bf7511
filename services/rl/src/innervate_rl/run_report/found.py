"""What the directory of a run says: results, curves and experience of each seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from innervate_rl import curves, result
from innervate_rl.experience.export import seeds
from innervate_rl.experience.parts import PartError
from innervate_rl.experience.writer import DIRECTORY
from innervate_rl.run_report import shown
from innervate_rl.statistics import Gate, gate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from innervate_rl.run_report.shown import Kept

_EARLY: Final = 0.02
"""Share of a curve's points, from the first on, that tell of a policy that has hardly learned."""
_TRIES: Final = 3
_METRICS: Final = {"Reward": "reward", "HeldOut": "heldOut"}


class _About(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)


class GateSettings(_About):
    """The run's gate, as its resource has it."""

    metric: str = "Reward"
    threshold: float
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    max_gap: float | None = None


class About(_About):
    """What the files of a run do not say of it."""

    name: str = "run"
    environment: str = ""
    algorithm: str = ""
    gate: GateSettings | None = None
    seeds: int | None = None
    """Declared ones."""
    outcome: str = ""
    """Reason of the condition Succeeded."""


class Seed(NamedTuple):
    """One seed."""

    number: int
    curves: list[dict[str, Any]]
    result: dict[str, Any] | None
    """None before it has ended."""
    kept: Kept

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        last = self.curves[-1]["step"] if self.curves else 0
        return int(self.result["steps"] if self.result else last)

    def early(self, metric: str) -> float | None:
        """Mean of the curve's first points: what the policy gained before it had learned."""
        values = [point[metric] for point in self.curves if metric in point]
        few = values[: max(1, int(len(values) * _EARLY))]
        return sum(few) / len(few) if few else None


class Verdict(NamedTuple):
    """What the gate says, of the trained policies or of others."""

    gate: Gate
    means: list[float]
    gap: float | None = None
    """Largest gap of a seed."""


def read(run: Path, only: int | None = None) -> list[Seed]:
    """Read what is there of each seed, or of one."""
    return [_seed(run / "seeds" / str(number), number) for number in seeds(run) if only in {None, number}]


def judge(found: Sequence[Seed], about: About) -> Verdict | None:
    """The gate over the evaluations; None without a gate, or before every seed has ended."""
    if about.gate is None or not found or len(found) < (about.seeds or 1):
        return None
    metric = _METRICS[about.gate.metric]
    means = [seed.result.get(metric) if seed.result else None for seed in found]
    gaps = [seed.result["gap"] for seed in found if seed.result and "gap" in seed.result]
    return _judged(means, about.gate, max(gaps, default=None))


def control(found: Sequence[Seed], about: About) -> Verdict | None:
    """The same gate over what the seeds gained before they had learned: a gate that passes tells nothing."""
    if about.gate is None:
        return None
    return _judged([seed.early(_METRICS[about.gate.metric]) for seed in found], about.gate, None)


def _judged(means: Sequence[float | None], settings: GateSettings, gap: float | None) -> Verdict | None:
    known = [mean for mean in means if mean is not None]
    if not known or len(known) != len(means):
        return None
    said = gate(known, threshold=settings.threshold, confidence=settings.confidence)
    wide = settings.max_gap is not None and gap is not None and gap > settings.max_gap
    return Verdict(said._replace(passed=said.passed and not wide), known, gap)


def _seed(directory: Path, number: int) -> Seed:
    told, ended = directory / curves.FILE, directory / result.FILE
    return Seed(
        number,
        curves.read(told) if told.is_file() else [],
        json.loads(ended.read_text(encoding="utf-8")) if ended.is_file() else None,
        _kept(number, directory / DIRECTORY),
    )


def _kept(number: int, directory: Path) -> Kept:
    """What a seed kept; while it runs a part may be replaced under the reader's eyes."""
    for _ in range(_TRIES - 1):
        try:
            return shown.of_seed(number, directory)
        except PartError:
            continue
    return shown.of_seed(number, directory)
