"""From the sample log to means, a comparison and a verdict."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from innervate_evaluator.intervals import Interval, Scored, detectable, difference, mean
from innervate_evaluator.journal import Key
from innervate_evaluator.verdict import Limit, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_evaluator.config import RunnerConfig
    from innervate_evaluator.dataset import Question
    from innervate_evaluator.journal import Answered

TARGET: Final = "target"
BASELINE: Final = "baseline"
DEFAULT_TAIL: Final = 0.05


class Metric(NamedTuple):
    """Mean of one scorer for the target."""

    metric: str
    interval: Interval


class Comparison(NamedTuple):
    """Target minus baseline."""

    metric: str
    interval: Interval
    detectable: float


class Results(NamedTuple):
    """What a run found."""

    summary: tuple[Metric, ...]
    comparison: Comparison | None
    verdict: Verdict | None
    samples: int
    answered: int
    errors: int
    releases: Mapping[str, Mapping[str, int]]
    """By arm, how many answers each release gave."""

    def document(self) -> dict[str, Any]:
        """The JSON form, decimals as text."""
        comparison = self.comparison
        return {
            "summary": [{"metric": each.metric, **_decimals(each.interval)} for each in self.summary],
            "comparison": (
                {
                    "metric": comparison.metric,
                    "difference": decimal(comparison.interval.value),
                    "low": decimal(comparison.interval.low),
                    "high": decimal(comparison.interval.high),
                    "n": comparison.interval.n,
                    "detectable": decimal(comparison.detectable),
                }
                if comparison
                else None
            ),
            "verdict": self.verdict.value if self.verdict else None,
            "counts": {"samples": self.samples, "answered": self.answered, "errors": self.errors},
        }


def arms(config: RunnerConfig) -> tuple[str, ...]:
    """Arms that are asked: the target, and the baseline where it is a release."""
    return (TARGET, BASELINE) if config.baseline and config.baseline.release else (TARGET,)


def results(config: RunnerConfig, questions: Sequence[Question], answered: Mapping[Key, Answered]) -> Results:
    """Sum up. Means and the comparison stand on what was answered and scored; the rest is counted.

    Parameters
    ----------
    config
        Scorers, gate, baseline.
    questions
        The dataset.
    answered
        The sample log.
    """
    tail = float(config.gate.alpha) if config.gate else DEFAULT_TAIL
    names = [scorer.name for scorer in config.scorers]
    whole = [question for question in questions if _whole(question, answered, arms(config), names)]
    summary = tuple(
        Metric(name, mean(scores, tail=tail / 2))
        for name in names
        if (scores := _scores(questions, answered, TARGET, name))
    )
    comparison = _comparison(config, questions, answered, tail=tail)
    return Results(
        summary=summary,
        comparison=comparison,
        verdict=_verdict(config, comparison),
        samples=len(questions),
        answered=len(whole),
        errors=len(questions) - len(whole),
        releases={
            arm: dict(
                sorted(
                    Counter(
                        one.release for key, one in answered.items() if key.arm == arm and not one.error
                    ).items()
                )
            )
            for arm in arms(config)
        },
    )


def decimal(value: float) -> str:
    """A result as text: four places."""
    text = f"{value:.4f}"
    return "0.0000" if text == "-0.0000" else text


def _whole(
    question: Question, answered: Mapping[Key, Answered], asked: Sequence[str], names: Sequence[str]
) -> bool:
    found = [answered.get(Key(question.id, arm)) for arm in asked]
    return all(one is not None and all(name in one.scores for name in names) for one in found)


def _scores(
    questions: Sequence[Question], answered: Mapping[Key, Answered], arm: str, name: str
) -> list[Scored]:
    return [
        Scored(question.cluster, one.scores[name])
        for question in questions
        if (one := answered.get(Key(question.id, arm))) and name in one.scores
    ]


def _comparison(
    config: RunnerConfig, questions: Sequence[Question], answered: Mapping[Key, Answered], *, tail: float
) -> Comparison | None:
    name = config.gate.metric if config.gate else config.scorers[0].name
    baseline = config.baseline
    if baseline is None:
        return None
    if baseline.value is not None:
        scores = _scores(questions, answered, TARGET, name)
        if not scores:
            return None
        value = float(baseline.value)
        of_target = mean(scores, tail=tail)
        interval = Interval(
            of_target.value - value, of_target.low - value, of_target.high - value, of_target.n
        )
    else:
        pairs = [
            Scored(question.cluster, one.scores[name] - other.scores[name])
            for question in questions
            if (one := answered.get(Key(question.id, TARGET)))
            and (other := answered.get(Key(question.id, BASELINE)))
            and name in one.scores
            and name in other.scores
        ]
        if not pairs:
            return None
        interval = difference(pairs, tail=tail)
    return Comparison(name, interval, detectable(interval, tail=tail))


def _verdict(config: RunnerConfig, comparison: Comparison | None) -> Verdict | None:
    gate = config.gate
    if gate is None:
        return None
    if comparison is None:
        return Verdict.UNDERPOWERED
    limit = Limit(gate.test, float(gate.margin), gate.min_samples)
    interval = comparison.interval
    return judge(limit, low=interval.low, high=interval.high, n=interval.n)


def _decimals(interval: Interval) -> dict[str, Any]:
    return {
        "value": decimal(interval.value),
        "low": decimal(interval.low),
        "high": decimal(interval.high),
        "n": interval.n,
    }
