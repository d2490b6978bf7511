r"""Judges two arms from their counts alone, at any time and as often as one likes.

Units of an arm :math:`a` succeed with an unknown probability :math:`p_a`. After :math:`n_a` units with
:math:`s_a` successes, the mixture

.. math:: M_a(p) = \frac{B(s_a + 1/2,\; n_a - s_a + 1/2)}{B(1/2, 1/2)\; p^{s_a} (1 - p)^{n_a - s_a}}

is, under :math:`p = p_a`, a martingale that starts at 1 and is never negative (Robbins 1970; Howard et al.
2021, section 4: the beta-binomial mixture; the prior Beta(1/2, 1/2) costs the least extra at the edges). So
is the product of both arms' mixtures, under :math:`(p_c, p_s)`, whatever share of the units each arm gets,
as long as the share is settled before the units are seen. For a set :math:`H` of pairs,

.. math:: E(H) = \min_{(p_c, p_s) \in H} M_c(p_c) M_s(p_s)

is at most the true pair's product where the true pair is in :math:`H`: an e-process. By Ville's inequality
(1939), :math:`P(\exists t: E_t \ge 1/\alpha) \le \alpha` under :math:`H`: one may look after every unit and
stop at any time. The minimum is a mixture's likelihood over the largest likelihood under :math:`H`, which is
the form of universal inference (Wasserman, Ramdas and Balakrishnan 2020), here with a mixture instead of a
split sample; see Ramdas et al. (2023) on e-processes and optional stopping.

Both log-likelihoods are concave, so the largest likelihood under a half-plane :math:`p_c - p_s \ge d` is the
unrestricted one where the observed rates lie in it, and else lies on its border :math:`p_c - p_s = d`: a
concave function of one variable. Differences :math:`d` whose border is not refuted form an interval, and
:math:`E(p_c - p_s \ge d) \ge 1/\alpha` exactly where that interval lies below :math:`d`.

What it rests on: an arm's units are independent and its rate stays the same during a rollout. Where the
rate drifts for both arms alike while their shares change, the steps' counts mix; feedback must be given to
both arms alike.

References
----------
Ville, J. (1939). Étude critique de la notion de collectif. Gauthier-Villars.
Robbins, H. (1970). Statistical methods related to the law of the iterated logarithm. Annals of Mathematical
Statistics 41(5).
Wasserman, L., Ramdas, A., Balakrishnan, S. (2020). Universal inference. PNAS 117(29).
Howard, S., Ramdas, A., McAuliffe, J., Sekhon, J. (2021). Time-uniform, nonparametric, nonasymptotic
confidence sequences. Annals of Statistics 49(2).
Ramdas, A., Grünwald, P., Vovk, V., Shafer, G. (2023). Game-theoretic statistics and safe anytime-valid
inference. Statistical Science 38(4).
"""

from __future__ import annotations

import math
from typing import NamedTuple

_PRIOR = 0.5
_LOG_PRIOR = 2 * math.lgamma(_PRIOR) - math.lgamma(2 * _PRIOR)
_NEWTON_STEPS, _HALVINGS = 60, 24
_NEAR = 1e-14
"""Newton's method ends when a step is smaller than this: far below what a probability is shown with."""


class Counts(NamedTuple):
    """What came of one arm.

    Parameters
    ----------
    units
        Independent units with feedback.
    successes
        Those of them that went well.
    """

    units: int
    successes: int

    @property
    def rate(self) -> float:
        """Observed rate of success; one half without units."""
        return self.successes / self.units if self.units else 0.5


class Interval(NamedTuple):
    """Difference of success probabilities, candidate minus stable.

    Parameters
    ----------
    low, high
        Ends of the confidence sequence: it holds the true difference at all times together with
        probability 1 − alpha.
    """

    low: float
    high: float


def inferior(candidate: Counts, stable: Counts, *, margin: float) -> float:
    """Logarithm of the e-value against "the candidate is worse by at most the margin".

    Parameters
    ----------
    candidate, stable
        Counts of the two arms.
    margin
        Difference of success probabilities that is put up with, from 0 to 1.

    Returns
    -------
    float
        Natural logarithm; at ``-log(alpha)`` or above, the candidate is worse by more than the margin,
        wrongly so with a probability of at most alpha over all looks.
    """
    if candidate.rate - stable.rate >= -margin:
        return _mixture(candidate) + _mixture(stable) - _likelihood(candidate) - _likelihood(stable)
    return against(candidate, stable, difference=-margin)


def non_inferior(candidate: Counts, stable: Counts, *, margin: float) -> float:
    """Logarithm of the e-value against "the candidate is worse by at least the margin".

    Parameters and result are those of `inferior`; at ``-log(alpha)`` or above, the candidate is worse by
    less than the margin, or better.
    """
    if candidate.rate - stable.rate <= -margin:
        return _mixture(candidate) + _mixture(stable) - _likelihood(candidate) - _likelihood(stable)
    return against(candidate, stable, difference=-margin)


def against(candidate: Counts, stable: Counts, *, difference: float) -> float:
    """Logarithm of the e-value against one difference of success probabilities.

    Parameters
    ----------
    candidate, stable
        Counts of the two arms.
    difference
        Candidate minus stable, from −1 to 1.
    """
    return _mixture(candidate) + _mixture(stable) - _best(candidate, stable, difference)


def interval(candidate: Counts, stable: Counts, *, alpha: float) -> Interval:
    """Confidence sequence for the difference of success probabilities, at one moment.

    Parameters
    ----------
    candidate, stable
        Counts of the two arms.
    alpha
        Probability that it ever misses the true difference.
    """
    limit = -math.log(alpha)
    observed = candidate.rate - stable.rate

    def end(outer: float) -> float:
        # The evidence against a difference grows with its distance from what was observed.
        if against(candidate, stable, difference=outer) < limit:
            return outer
        inside = observed
        for _ in range(_HALVINGS):
            middle = (inside + outer) / 2
            if against(candidate, stable, difference=middle) < limit:
                inside = middle
            else:
                outer = middle
        return outer

    return Interval(end(-1.0), end(1.0))


def _mixture(counts: Counts) -> float:
    """Logarithm of the likelihood averaged over Beta(1/2, 1/2)."""
    good, bad = counts.successes + _PRIOR, counts.units - counts.successes + _PRIOR
    return math.lgamma(good) + math.lgamma(bad) - math.lgamma(good + bad) - _LOG_PRIOR


def _likelihood(counts: Counts) -> float:
    """Logarithm of the largest likelihood."""
    return _log_likelihood(counts, counts.rate)


def _log_likelihood(counts: Counts, probability: float) -> float:
    good, bad = counts.successes, counts.units - counts.successes
    result = 0.0
    if good:
        result += good * math.log(probability) if probability > 0 else -math.inf
    if bad:
        result += bad * math.log1p(-probability) if probability < 1 else -math.inf
    return result


def _best(candidate: Counts, stable: Counts, difference: float) -> float:
    """Logarithm of the largest likelihood where the probabilities differ by exactly that much.

    The slope along the border falls strictly, so its zero is found by Newton's method kept between
    bounds that close in; where there is none inside, the largest value is at an end.
    """
    low, high = max(0.0, -difference), min(1.0, 1.0 - difference)
    good, bad = candidate.successes, candidate.units - candidate.successes
    other_good, other_bad = stable.successes, stable.units - stable.successes

    def value(probability: float) -> float:
        moved = min(max(probability + difference, 0.0), 1.0)
        return _log_likelihood(candidate, moved) + _log_likelihood(stable, probability)

    at = min(max(stable.rate, low), high)
    if not low < at < high:
        at = (low + high) / 2
    floor, ceiling = low, high
    for _ in range(_NEWTON_STEPS):
        moved = at + difference
        if not (0.0 < at < 1.0 and 0.0 < moved < 1.0):
            break
        slope = good / moved - bad / (1 - moved) + other_good / at - other_bad / (1 - at)
        if slope > 0:
            floor = at
        elif slope < 0:
            ceiling = at
        else:
            break
        bend = good / moved**2 + bad / (1 - moved) ** 2 + other_good / at**2 + other_bad / (1 - at) ** 2
        step = at + slope / bend if bend else at
        following = step if floor < step < ceiling else (floor + ceiling) / 2
        if abs(following - at) < _NEAR:
            break
        at = following
    return max(value(at), value(low), value(high))
