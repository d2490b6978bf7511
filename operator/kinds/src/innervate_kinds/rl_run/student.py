"""One-sided bound of a mean by Student's t, without a numerics library."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEPS = 200
"""Bisections of a quantile: to the last digit of a float, however large."""


def lower_bound(means: Sequence[float], confidence: float) -> float:
    """Value that the true mean is above with this confidence.

    Parameters
    ----------
    means
        One mean of each seed, of at least two seeds.
    confidence
        From one half, below 1.
    """
    error = stdev(means) / math.sqrt(len(means))
    return fmean(means) - quantile(confidence, len(means) - 1) * error


def quantile(probability: float, freedom: int) -> float:
    """Value that Student's t stays below with this probability, by bisection of its distribution.

    Parameters
    ----------
    probability
        From one half, below 1.
    freedom
        Degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while distribution(high, freedom) < probability:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if distribution(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def distribution(value: float, freedom: int) -> float:
    """Probability that Student's t stays below a value that is not negative.

    By its finite sums for whole degrees of freedom: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    angle = math.atan(value / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for index in range(2 + odd, freedom - 1, 2):
        term *= cosine * cosine * (index - 1) / index
        total += term
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 + within) / 2
