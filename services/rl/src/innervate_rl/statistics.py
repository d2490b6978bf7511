"""Intervals of means: over episodes of one policy, and over seeds for a gate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import stdtrit  # type: ignore[import-untyped]  # it ships no types

if TYPE_CHECKING:
    from collections.abc import Sequence


class Mean(NamedTuple):
    """A mean and where it lies."""

    value: float
    low: float
    high: float


def interval(values: Sequence[float], *, confidence: float = 0.95) -> Mean:
    """Mean with its two-sided t interval; one value alone has no interval but itself.

    Raises
    ------
    ValueError
        There are no values.
    """
    mean, error = _mean_and_error(values)
    if not error:
        return Mean(mean, mean, mean)
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * error
    return Mean(mean, mean - half, mean + half)


def lower_bound(values: Sequence[float], *, confidence: float = 0.95) -> float:
    """One-sided lower t bound of the mean: `mean - t(confidence, n - 1) * s / sqrt(n)`.

    With a single value nothing is known about the spread: the bound is minus infinity.

    Raises
    ------
    ValueError
        There are no values.
    """
    mean, error = _mean_and_error(values)
    if len(values) == 1:
        return -math.inf
    return mean - float(stdtrit(len(values) - 1, confidence)) * error


class Gate(NamedTuple):
    """What a gate over seeds says."""

    mean: float
    low: float
    """One-sided lower bound of the mean."""
    passed: bool


def gate(seed_means: Sequence[float], *, threshold: float, confidence: float = 0.95) -> Gate:
    """Judge a run by the means of its seeds: passed where their lower bound reaches the threshold."""
    low = lower_bound(seed_means, confidence=confidence)
    return Gate(float(np.mean(seed_means)), low, low >= threshold)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error, 0 for one value."""
    if not len(values):
        raise ValueError("there are no values to take a mean of")
    array = np.asarray(values, np.float64)
    error = float(array.std(ddof=1)) / math.sqrt(len(array)) if len(array) > 1 else 0.0
    return float(array.mean()), error
