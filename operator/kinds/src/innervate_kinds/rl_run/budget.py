"""How long a seed may take, by time and by cost."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from innervate_kinds.parts.placement import Pool
    from innervate_kinds.rl_run.model import RLRun

LEAST_SECONDS = 60
"""With less for a seed, starting alone would use it up."""
_AROUND_SECONDS = 900
"""Time beside training: to start, to compile, and to evaluate."""
_TRAINING = Decimal("0.8")
"""Share of the time that a cost buys that is for training; the rest is for what is around it."""
_HOUR = 3600


class Allowance(NamedTuple):
    """Seconds of one seed."""

    training: int
    """After this the trainer stops to train, and evaluates what it has."""
    whole: int
    """After this its pods are stopped, and it has failed."""


def allowance(run: RLRun, pool: Pool | None) -> Allowance:
    """Time of a seed: what is declared, and no more than its share of the cost buys.

    A pod costs as much as a node of its ComputePool: nothing tells which part of a node it uses.
    """
    budget = run.spec.budget
    bought = _bought(run, pool)
    if bought is None:
        return Allowance(budget.seconds, budget.seconds + _AROUND_SECONDS)
    whole = min(Decimal(budget.seconds + _AROUND_SECONDS), bought)
    training = min(Decimal(budget.seconds), bought * _TRAINING)
    return Allowance(_floor(training), _floor(whole))


def _bought(run: RLRun, pool: Pool | None) -> Decimal | None:
    """Seconds that a seed's share of the cost buys; None where no cost limits them."""
    cost = run.spec.budget.cost
    price = Decimal(pool.spec.cost_per_hour) if pool else Decimal(0)
    if cost is None or not price:
        return None
    external = run.spec.engine.external
    pods = run.spec.seeds * (external.nodes if external else 1)
    return Decimal(cost) / (price * pods) * _HOUR


def _floor(seconds: Decimal) -> int:
    return int(seconds.to_integral_value(ROUND_FLOOR))
