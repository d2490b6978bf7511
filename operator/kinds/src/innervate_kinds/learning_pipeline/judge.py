"""What feedback says of a candidate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from innervate_kinds.learning_pipeline import evidence, names
from innervate_kinds.learning_pipeline.evidence import Counts
from innervate_kinds.learning_pipeline.record import Detection, Judgement, Tally

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.learning_pipeline.model import Judge, LearningPipeline
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus
    from innervate_kinds.learning_pipeline.state import Observed

_LARGEST = 690.0
"""Logarithm up to which a number is written out."""


class Findings(NamedTuple):
    """Counts of a rollout and what they show.

    Parameters
    ----------
    stable, candidate
        Counts of the two arms.
    inferior
        Logarithm of the e-value that the candidate is worse by more than the margin.
    non_inferior
        Logarithm of the e-value that it is worse by less, or better.
    threshold
        Logarithm from which an e-value is evidence.
    """

    stable: Counts
    candidate: Counts
    inferior: float
    non_inferior: float
    threshold: float

    @property
    def detected(self) -> bool:
        """Whether the candidate is shown to be worse by more than the margin."""
        return self.inferior >= self.threshold

    @property
    def shown_non_inferior(self) -> bool:
        """Whether it is shown not to be."""
        return self.non_inferior >= self.threshold


def findings(
    pipeline: LearningPipeline, state: LearningPipelineStatus, observed: Observed
) -> Findings | None:
    """What the last counts show; None where there are none of this rollout."""
    answer = observed.outcomes.value if observed.outcomes else None
    if answer is None:
        return None
    stable, candidate = (
        Counts(*answer.get(arm, (0, 0))) for arm in names.arms(pipeline.metadata, state.rollout)
    )
    return weigh(pipeline.spec.rollout.judge, stable=stable, candidate=candidate)


def weigh(judge: Judge, *, stable: Counts, candidate: Counts) -> Findings:
    """What counts show."""
    margin = float(judge.margin)
    return Findings(
        stable,
        candidate,
        evidence.inferior(candidate, stable, margin=margin),
        evidence.non_inferior(candidate, stable, margin=margin),
        -math.log(float(judge.alpha)),
    )


def detection(
    pipeline: LearningPipeline, state: LearningPipelineStatus, found: Findings, now: datetime
) -> Detection | None:
    """The detection that findings amount to."""
    trial, step = state.candidate, state.step
    if not found.detected or trial is None or trial.release is None or step is None:
        return None
    judge = pipeline.spec.rollout.judge
    shown = judgement(judge, found)
    text = (
        f"e-value {_number(found.inferior)} against {judge.feedback!r} being worse by at most "
        f"{judge.margin}, threshold {_number(found.threshold)}; difference {shown.difference}, "
        f"{100 * (1 - float(judge.alpha)):g} % confidence sequence from {shown.low} to {shown.high}; "
        f"candidate {found.candidate.successes} of {found.candidate.units}, "
        f"stable {found.stable.successes} of {found.stable.units}"
    )
    return Detection(
        id=names.detection_id(pipeline.metadata, state.rollout),
        rollout=state.rollout,
        candidate=trial.name,
        release=trial.release,
        time=now,
        percent=step.percent,
        stable=shown.stable,
        of_candidate=shown.candidate,
        evidence=text,
    )


def judgement(judge: Judge, found: Findings) -> Judgement:
    """Findings as they are shown."""
    ends = evidence.interval(found.candidate, found.stable, alpha=float(judge.alpha))
    both = found.candidate.units and found.stable.units
    return Judgement(
        stable=Tally(units=found.stable.units, successes=found.stable.successes),
        candidate=Tally(units=found.candidate.units, successes=found.candidate.successes),
        difference=_decimal(found.candidate.rate - found.stable.rate if both else 0.0),
        low=_decimal(ends.low),
        high=_decimal(ends.high),
    )


def _number(logarithm: float) -> str:
    if logarithm < _LARGEST:
        return f"{math.exp(logarithm):.4g}"
    return f"1e{logarithm / math.log(10):.0f}"


def _decimal(value: float) -> str:
    text = f"{value:.4f}"
    return "0.0000" if text == "-0.0000" else text
