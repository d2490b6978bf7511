"""Verdicts: what bounds of a difference say of a gate."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What a comparison says of the gate."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNDERPOWERED = "Underpowered"


class GateTest(StrEnum):
    """What the gate shows of the candidate."""

    NON_INFERIOR = "NonInferior"
    SUPERIOR = "Superior"


class Limit(NamedTuple):
    """What the true difference must be above."""

    test: GateTest
    margin: float
    """Difference that does not matter; not negative."""
    min_samples: int = 1

    @property
    def difference(self) -> float:
        """The limit itself: −margin for non-inferiority, +margin for superiority."""
        return -self.margin if self.test is GateTest.NON_INFERIOR else self.margin


def judge(limit: Limit, *, low: float, high: float, n: int) -> Verdict:
    """Passed above the limit, Failed below it, Underpowered where the bounds hold it between them.

    Each bound leaves out the truth with probability alpha, so that a candidate exactly at the limit
    passes, and fails, with probability alpha at most.

    Parameters
    ----------
    limit
        What the true difference must be above.
    low, high
        Bounds of the true difference, candidate minus baseline.
    n
        Units they stand on.
    """
    if n < limit.min_samples:
        return Verdict.UNDERPOWERED
    if low > limit.difference:
        return Verdict.PASSED
    if high < limit.difference:
        return Verdict.FAILED
    return Verdict.UNDERPOWERED
