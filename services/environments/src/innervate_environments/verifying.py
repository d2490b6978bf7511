"""Rewards of answers: what a verifier is told, and what becomes of what it says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from innervate_environments.episodes import Failure, Named, Reason, Role

if TYPE_CHECKING:
    from collections.abc import Sequence


class ScorerType(StrEnum):
    """How an answer is compared with the expected ones."""

    EXACT = "Exact"
    CONTAINS = "Contains"
    NUMERIC = "Numeric"
    REGEX = "Regex"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that a verifier sees: what was declared, nothing of how it came about."""

    id: str
    input: str
    output: str
    expected: tuple[str, ...]


class Score(NamedTuple):
    """A value, or why there is none."""

    value: float | None
    problem: str = ""


class Verifier(Protocol):
    """Scores answers by the environment's rewards."""

    async def __call__(self, answer: Answer) -> Sequence[Score]:
        """One score for each reward, in their order. It raises nothing: what fails is a score."""
        ...


class Weighted(NamedTuple):
    """A reward as the sum needs it."""

    name: str
    weight: float
    role: Role


class Verdict(NamedTuple):
    """What an answer earned: a reward or a failure, never both."""

    reward: float
    """NaN with a failure."""
    named: Named
    failure: Failure | None


def judge(rewards: Sequence[Weighted], scores: Sequence[Score]) -> Verdict:
    """Sum up an answer's scores.

    One score that is missing voids the episode, whatever its role: without its canaries and its held-out
    judge a reward is not known to be honest.

    Parameters
    ----------
    rewards
        What is asked for.
    scores
        One for each.
    """
    values: dict[str, float] = {}
    failures: dict[str, str] = {}
    for reward, score in zip(rewards, scores, strict=True):
        if score.value is None:
            failures[reward.name] = score.problem or "no value"
        elif not math.isfinite(score.value):
            failures[reward.name] = f"{score.value} is no reward"
        else:
            values[reward.name] = score.value
    named = Named(values, failures)
    if failures:
        told = "; ".join(f"{name}: {problem}" for name, problem in failures.items())
        return Verdict(math.nan, named, Failure(Reason.UNVERIFIED, f"the answer is not verified: {told}"))
    total = math.fsum(r.weight * values[r.name] for r in rewards if r.role is Role.TRAINED)
    return Verdict(total, named, None)
