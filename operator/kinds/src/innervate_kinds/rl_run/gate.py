"""Whether the seeds show what the gate wants, and which of them is the best."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from innervate_kinds.rl_run import student
from innervate_kinds.rl_run.model import GateMetric
from innervate_kinds.rl_run.record import GateStatus
from innervate_kinds.rl_run.seeds import decimal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from innervate_kinds.rl_run.model import Gate
    from innervate_kinds.rl_run.record import SeedStatus


def judge(gate: Gate, seeds: Sequence[SeedStatus], now: datetime) -> GateStatus:
    """Judge the seeds, each of which succeeded.

    Parameters
    ----------
    gate
        What must hold.
    seeds
        At least two.
    now
        Time of the verdict.
    """
    means = [_figure(gate, each) for each in seeds]
    low = student.lower_bound(means, float(gate.confidence))
    gaps = [abs(float(each.gap)) for each in seeds if each.gap is not None]
    limit = None if gate.max_gap is None else float(gate.max_gap)
    fits = limit is None or (len(gaps) == len(seeds) and max(gaps) <= limit)
    return GateStatus(
        metric=gate.metric.value,
        mean=decimal(fmean(means)) or "0",
        low=decimal(low) or "0",
        threshold=gate.threshold,
        gap=decimal(max(gaps)) if gaps and limit is not None else None,
        passed=low >= float(gate.threshold) and fits,
        time=now.replace(microsecond=0),
    )


def best(gate: Gate, seeds: Sequence[SeedStatus]) -> int:
    """Seed with the highest mean of what the gate looks at; of equals the first."""
    return max(seeds, key=lambda each: _figure(gate, each)).seed


def words(gate: Gate, found: GateStatus) -> str:
    """What a verdict says, for people."""
    share = f"{float(gate.confidence) * 100:g} %"
    text = (
        f"the mean {found.metric} over seeds is {found.mean}, with {share} confidence at least {found.low}; "
        f"{found.threshold} is wanted"
    )
    if gate.max_gap is not None:
        text += f"; the largest gap to the held-out reward is {found.gap}, at most {gate.max_gap} is allowed"
    return text


def _figure(gate: Gate, seed: SeedStatus) -> float:
    text = seed.held_out if gate.metric is GateMetric.HELD_OUT else seed.reward
    return float(text or "nan")
