"""Means and paired differences of scores, with bounds that hold in small samples and with clusters.

A bound leaves out the truth with the probability of its tail: an interval whose tails are 0.05 each is
one of 90 %. Scores are from 0 to 1. Units are independent of each other; samples of one cluster (a
conversation, a task) need not be, so that a cluster counts once, by its mean.

Every formula here is held to its promise, by enumeration where that can be done and else by simulation,
in `tests/unit/evaluator/test_verdict_rates.py`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final, NamedTuple

from innervate_evaluator.quantiles import beta_quantile, normal_quantile, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

_BISECTIONS: Final = 60
"""Halvings of the range from -1 to 1: to the last digit of a float."""
POWER: Final = 0.8
"""With which a detectable difference is detected."""


class Interval(NamedTuple):
    """An estimate and its bounds."""

    value: float
    low: float
    high: float
    n: int
    """Units that it stands on."""


class Scored(NamedTuple):
    """One number of one sample."""

    cluster: str
    """Samples with the same name belong together."""
    value: float


def mean(scores: Sequence[Scored], *, tail: float) -> Interval:
    """Mean score over units.

    Binary scores without clusters get the exact interval. Everything else gets Student's t interval
    over cluster means (Miller, "Adding Error Bars to Evals", arXiv 2411.00640, section 2.2, with
    clusters of equal weight), never narrower than the exact one for the same mean if all its samples
    were independent: a handful of equal clusters must not look certain.

    Parameters
    ----------
    scores
        At least one.
    tail
        Probability left out on each side, below one half.
    """
    clusters = _means(scores)
    value = fmean(clusters)
    floor = exact(value, len(scores), tail=tail)
    if len(clusters) == len(scores) and all(one.value in {0.0, 1.0} for one in scores):
        return Interval(value, floor.low, floor.high, len(clusters))
    student = _student(clusters, tail=tail)
    return Interval(
        value,
        max(0.0, min(floor.low, student.low)),
        min(1.0, max(floor.high, student.high)),
        len(clusters),
    )


def difference(differences: Sequence[Scored], *, tail: float) -> Interval:
    """Mean of paired differences over units.

    Binary pairs without clusters get Tango's score interval. Everything else gets Student's t interval
    over cluster means, never narrower than Tango's for the same mean if all pairs were independent
    (for fractional scores, whose squares are smaller than themselves, Tango's is on the wide side).

    Parameters
    ----------
    differences
        Candidate minus baseline of each sample that both have answered; at least one.
    tail
        Probability left out on each side, below one half.
    """
    clusters = _means(differences)
    value = fmean(clusters)
    sizes: defaultdict[str, int] = defaultdict(int)
    for one in differences:
        sizes[one.cluster] += 1
    n = len(differences)
    weights = [n / (len(clusters) * sizes[one.cluster]) for one in differences]
    gained = math.fsum(w * max(one.value, 0.0) for w, one in zip(weights, differences, strict=True))
    lost = math.fsum(w * max(-one.value, 0.0) for w, one in zip(weights, differences, strict=True))
    score = tango(gained, lost, n, tail=tail)
    if len(clusters) == n and all(one.value in {-1.0, 0.0, 1.0} for one in differences):
        return Interval(value, score.low, score.high, n)
    student = _student(clusters, tail=tail)
    return Interval(
        value,
        max(-1.0, min(score.low, student.low)),
        min(1.0, max(score.high, student.high)),
        len(clusters),
    )


def detectable(interval: Interval, *, tail: float) -> float:
    """How far from a limit the truth must be to be told from it with a probability of 0.8.

    The sum of the two quantiles times the standard error (Chow, Shao and Wang, "Sample Size
    Calculations in Clinical Research", 3.1), the error taken from the interval's width.

    Parameters
    ----------
    interval
        From `mean` or `difference`.
    tail
        The tail it was made with.
    """
    quantile = normal_quantile(1 - tail)
    error = (interval.high - interval.low) / 2 / quantile
    return min(1.0, (quantile + normal_quantile(POWER)) * error)


def exact(share: float, n: int, *, tail: float) -> Interval:
    """Exact interval of a proportion (Clopper and Pearson, Biometrika 26, 1934).

    Each bound leaves out the truth with the probability of its tail at most, in samples of any size.

    Parameters
    ----------
    share
        Observed proportion.
    n
        Independent trials it was observed in.
    tail
        Probability left out on each side.
    """
    right = share * n
    low = beta_quantile(tail, right, n - right + 1) if right > 0 else 0.0
    high = beta_quantile(1 - tail, right + 1, n - right) if right < n else 1.0
    return Interval(share, low, high, n)


def tango(gained: float, lost: float, n: int, *, tail: float) -> Interval:
    """Score interval of a paired difference of proportions (Tango, Statistics in Medicine 17, 1998).

    It inverts the score test, in which McNemar's test is the case of no difference, and so stays honest
    where few pairs differ. The test is corrected for continuity by one pair, as Edwards (Psychometrika
    13, 1948) corrects McNemar's: without it a bound of 5 % leaves out the truth with up to 9 %.

    Parameters
    ----------
    gained, lost
        Pairs in which only the candidate, and only the baseline, was right.
    n
        All pairs.
    tail
        Probability left out on each side.
    """
    z = normal_quantile(1 - tail)

    def root(wanted: float, correction: float) -> float:
        low, high = -1.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if _tango_statistic(gained, lost, n, middle, correction) > wanted:
                low = middle
            else:
                high = middle
        return (low + high) / 2

    return Interval((gained - lost) / n, root(z, -1.0), root(-z, 1.0), n)


def _tango_statistic(gained: float, lost: float, n: int, delta: float, correction: float) -> float:
    """Score statistic for the hypothesis that the difference is `delta`; falls as `delta` grows."""
    b = -gained - lost + (2 * n - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    # The probability of "only the baseline is right", at its likeliest under the hypothesis.
    nuisance = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * nuisance + delta * (1 - delta))
    distance = gained - lost - n * delta + correction
    if variance <= 0:
        return math.inf if distance > 0 else -math.inf if distance < 0 else 0.0
    return distance / math.sqrt(variance)


def _student(means: Sequence[float], *, tail: float) -> Interval:
    """Student's t interval of independent numbers; one alone says nothing."""
    value = fmean(means)
    if len(means) < 2:
        return Interval(value, -math.inf, math.inf, len(means))
    half = t_quantile(1 - tail, len(means) - 1) * stdev(means) / math.sqrt(len(means))
    return Interval(value, value - half, value + half, len(means))


def _means(scores: Sequence[Scored]) -> list[float]:
    """Mean of each cluster, in the order in which they appear."""
    clusters: dict[str, list[float]] = {}
    for one in scores:
        clusters.setdefault(one.cluster, []).append(one.value)
    return [fmean(values) for values in clusters.values()]
