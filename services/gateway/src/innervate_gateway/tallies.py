"""What every request adds to, counted in plain numbers; `metrics` tells them when Prometheus asks.

The library's own counters take a lock and look their labels up each time, which at this rate is a tenth of
the work.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily

_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Durations:
    """A histogram of seconds."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sum += seconds

    def tell(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Add what was counted to what Prometheus gets."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(labels, buckets, self._sum)


class ArmTally:
    """What one arm's requests add to."""

    __slots__ = ("cached_tokens", "first_token", "input_tokens", "output_tokens", "requests", "seconds")

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        """By status code."""
        self.seconds = Durations()
        self.first_token = Durations()
        self.input_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0


class VariantTally:
    """What one variant's engines did."""

    __slots__ = ("cost", "seconds")

    def __init__(self) -> None:
        self.cost = 0.0
        self.seconds = 0.0


arms: Final[dict[str, ArmTally]] = {}
"""By name."""
variants: Final[dict[str, VariantTally]] = {}
"""By name."""


def arm(name: str) -> ArmTally:
    """The tally of an arm."""
    tally = arms.get(name)
    if tally is None:
        tally = arms[name] = ArmTally()
    return tally


def variant(name: str) -> VariantTally:
    """The tally of a variant."""
    tally = variants.get(name)
    if tally is None:
        tally = variants[name] = VariantTally()
    return tally


def forget_arm(name: str) -> None:
    """Tell of an arm no more: rollouts give their arms fresh names, which would add up."""
    arms.pop(name, None)
