"""Quantiles of the normal distribution and of Student's t, without a numerics library in the image."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()
_STEPS: Final = 200
"""Bisections of a quantile, and terms of the continued fraction: far more than either takes."""
_TINY: Final = 1e-300
_CLOSE: Final = 1e-15


def normal_quantile(probability: float) -> float:
    """Value that a standard normal variable stays below with this probability."""
    return _NORMAL.inv_cdf(probability)


@lru_cache(maxsize=256)
def t_quantile(probability: float, freedom: int) -> float:
    """Value that Student's t stays below with this probability, by bisection of its distribution.

    Parameters
    ----------
    probability
        Above one half and below 1.
    freedom
        Degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while t_probability(high, freedom) < probability:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if t_probability(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_probability(value: float, freedom: int) -> float:
    """Probability that Student's t stays below a value that is not negative.

    By the regularised incomplete beta function: Abramowitz and Stegun (1964), 26.7.1.
    """
    return 1 - _beta(freedom / (freedom + value * value), freedom / 2, 0.5) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function by its continued fraction (DLMF 8.17.22, Lentz's method)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / a * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            result *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return result


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
