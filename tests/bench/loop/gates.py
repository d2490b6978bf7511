"""How often the live judge is wrong, and how fast it is right: thousands of simulated rollouts.

Each rollout is looked at after every few sessions, and stopped at the first look that decides: the optional
stopping that a fixed-sample test does not survive. The evidence is computed for all rollouts at once and held
against the pipeline's own, value by value.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from innervate_kinds.learning_pipeline import evidence
from innervate_kinds.learning_pipeline.evidence import Counts
from report import Aim, Figure, table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Wholes = NDArray[np.int64]

MARGIN, ALPHA = 0.05, 0.05
STABLE_RATE = 0.8
SESSIONS_A_LOOK = 20
MOST_SESSIONS = 10_000
STEPS = ((0.1, 200), (0.5, 500))
"""The candidate's share, and its sessions that the step takes at least."""
ROLLOUTS, SEEDS = 2_000, (1, 2, 3, 4, 5)
_HALVINGS = 45
_LIMIT = -math.log(ALPHA)
_LOG_GAMMA_HALF = np.concatenate(
    ([math.lgamma(0.5)], math.lgamma(0.5) + np.cumsum(np.log(np.arange(MOST_SESSIONS + 1) + 0.5)))
)
_LOG_FACTORIAL = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, MOST_SESSIONS + 2)))))


@dataclass(frozen=True)
class Outcome:
    """What became of a batch of rollouts.

    Parameters
    ----------
    rolled_back, promoted
        Whether each was taken back on a detection, or promoted as shown non-inferior.
    candidate_sessions
        The candidate's sessions at the decision.
    """

    rolled_back: NDArray[np.bool_]
    promoted: NDArray[np.bool_]
    candidate_sessions: Wholes


def mixture(good: Wholes, bad: Wholes) -> Reals:
    """Logarithm of the likelihoods averaged over Beta(1/2, 1/2)."""
    log_pi = math.log(math.pi)
    result: Reals = _LOG_GAMMA_HALF[good] + _LOG_GAMMA_HALF[bad] - _LOG_FACTORIAL[good + bad] - log_pi
    return result


def likelihood(good: Wholes, bad: Wholes, rate: Reals) -> Reals:
    """Logarithm of the likelihoods."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Reals = np.where(good > 0, good * np.log(rate), 0.0) + np.where(
            bad > 0, bad * np.log1p(-rate), 0.0
        )
    return result


def against_border(good: Wholes, bad: Wholes, other_good: Wholes, other_bad: Wholes) -> Reals:
    """Logarithm of the e-values against a candidate that is worse by exactly the margin."""
    low, high = np.full(good.shape, MARGIN), np.ones(good.shape)
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        moved = rate - MARGIN
        slope = good / moved - bad / (1 - moved) + other_good / rate - other_bad / (1 - rate)
        low, high = np.where(slope > 0, rate, low), np.where(slope > 0, high, rate)
    rate = (low + high) / 2
    best = likelihood(good, bad, rate - MARGIN) + likelihood(other_good, other_bad, rate)
    return mixture(good, bad) + mixture(other_good, other_bad) - best


def simulate(difference: float, *, seed: int, rollouts: int = ROLLOUTS) -> Outcome:
    """Let rollouts run whose candidates differ from the stable release by that much."""
    chance = np.random.default_rng(seed)
    rate = STABLE_RATE + difference
    good, bad, other_good, other_bad = (np.zeros(rollouts, dtype=np.int64) for _ in range(4))
    step = np.zeros(rollouts, dtype=np.int64)
    before = np.zeros(rollouts, dtype=np.int64)
    rolled_back, promoted = np.zeros(rollouts, dtype=bool), np.zeros(rollouts, dtype=bool)
    shares, least = np.array([share for share, _ in STEPS]), np.array([units for _, units in STEPS])
    for _ in range(MOST_SESSIONS // SESSIONS_A_LOOK):
        (open_,) = np.nonzero(~(rolled_back | promoted))
        if not open_.size:
            break
        mine = chance.binomial(SESSIONS_A_LOOK, shares[step[open_]])
        won, other_won = chance.binomial(mine, rate), chance.binomial(SESSIONS_A_LOOK - mine, STABLE_RATE)
        good[open_] += won
        bad[open_] += mine - won
        other_good[open_] += other_won
        other_bad[open_] += SESSIONS_A_LOOK - mine - other_won
        first, second = good[open_] + bad[open_], other_good[open_] + other_bad[open_]
        observed = good[open_] / np.maximum(first, 1) - other_good[open_] / np.maximum(second, 1)
        shown = against_border(good[open_], bad[open_], other_good[open_], other_bad[open_]) >= _LIMIT
        rolled_back[open_[shown & (observed < -MARGIN)]] = True
        passes = ~rolled_back[open_] & (first - before[open_] >= least[step[open_]])
        last = step[open_] == len(STEPS) - 1
        promoted[open_[passes & last & shown & (observed > -MARGIN)]] = True
        on = open_[passes & ~last]
        before[on] = (good + bad)[on]
        step[on] += 1
    return Outcome(rolled_back, promoted, good + bad)


def check(*, samples: int = 300, seed: int = 11) -> float:
    """Largest difference between the evidence computed here and the pipeline's own."""
    chance = np.random.default_rng(seed)
    units, others = chance.integers(1, 1500, samples), chance.integers(1, 5000, samples)
    good, other_good = chance.binomial(units, chance.random(samples)), chance.binomial(others, 0.8)
    here = against_border(good, units - good, other_good, others - other_good)
    worst = 0.0
    for index in range(samples):
        candidate = Counts(int(units[index]), int(good[index]))
        stable = Counts(int(others[index]), int(other_good[index]))
        own = evidence.against(candidate, stable, difference=-MARGIN)
        worst = max(worst, abs(own - float(here[index])))
    return worst


def measure() -> list[Figure]:
    """Rates of wrong decisions, and sessions until right ones."""
    declared = Aim(text=f"at most {ALPHA:g}", reached=lambda ours, _peer: ours <= ALPHA)
    figures = [
        Figure(
            metric="evidence here and in the pipeline differ by",
            unit="nats",
            ours=[check()],
            aim=Aim(text="below 1e-6", reached=lambda ours, _peer: ours < 1e-6),
        )
    ]
    for difference in (0.0, -MARGIN):
        rates = [float(simulate(difference, seed=seed).rolled_back.mean()) for seed in SEEDS]
        name = f"false rollbacks, candidate {difference:+.2f} (margin {MARGIN})"
        figures.append(Figure(metric=name, unit="share", ours=rates, aim=declared))
    for difference in (-MARGIN, -MARGIN - 0.02):
        rates = [float(simulate(difference, seed=seed).promoted.mean()) for seed in SEEDS]
        name = f"false promotions, candidate {difference:+.2f} (margin {MARGIN})"
        figures.append(Figure(metric=name, unit="share", ours=rates, aim=declared))
    for difference in (-0.15, -0.25, -0.4, -0.6):
        outcomes = [simulate(difference, seed=seed, rollouts=400) for seed in SEEDS]
        caught = [float(each.rolled_back.mean()) for each in outcomes]
        delays = [float(np.median(each.candidate_sessions[each.rolled_back])) for each in outcomes]
        late = [float(np.quantile(each.candidate_sessions[each.rolled_back], 0.99)) for each in outcomes]
        figures += [
            Figure(metric=f"rolled back, candidate {difference:+.2f}", unit="share", ours=caught),
            Figure(
                metric=f"candidate's sessions until then, {difference:+.2f}, median", unit="", ours=delays
            ),
            Figure(metric=f"candidate's sessions until then, {difference:+.2f}, p99", unit="", ours=late),
        ]
    for difference in (0.0, 0.05, 0.1):
        outcomes = [simulate(difference, seed=seed, rollouts=400) for seed in SEEDS]
        shown = [float(each.promoted.mean()) for each in outcomes]
        needed = [float(np.median(each.candidate_sessions[each.promoted])) for each in outcomes]
        figures += [
            Figure(metric=f"shown non-inferior, candidate {difference:+.2f}", unit="share", ours=shown),
            Figure(
                metric=f"candidate's sessions until then, {difference:+.2f}, median", unit="", ours=needed
            ),
        ]
    return figures


def main() -> int:
    """Simulate and print the table."""
    print(
        f"{ROLLOUTS} rollouts a seed, looked at every {SESSIONS_A_LOOK} of at most {MOST_SESSIONS} sessions; "
        f"stable release at {STABLE_RATE}.\n"
    )
    print(table(measure()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
