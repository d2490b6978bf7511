"""Quantiles of the normal, Student's t and beta distributions, without a numerics library in the image."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist
from typing import Final

_NORMAL: Final = NormalDist()
_STEPS: Final = 60
"""Bisections of a quantile: to the last digit of a float."""
_TERMS: Final = 10_000
"""Most terms of the continued fraction; it takes about the square root of the larger parameter."""
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
    return 1 - beta_probability(freedom / (freedom + value * value), freedom / 2, 0.5) / 2


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Value that a beta variable stays below with this probability, by bisection of its distribution."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if beta_probability(middle, a, b) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def beta_probability(x: float, a: float, b: float) -> float:
    """Probability that a beta variable stays below a value: the regularised incomplete beta function.

    By its continued fraction (DLMF 8.17.22), evaluated by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_probability(1 - x, b, a)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / a * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    result = d
    for m in range(1, _TERMS):
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
