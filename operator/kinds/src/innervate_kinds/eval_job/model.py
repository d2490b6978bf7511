"""What a user declares as an EvalJob, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Column, Definition, Rule
from innervate_kinds.api.scheduling import ObjectName
from innervate_kinds.eval_job.template import EvalJobTemplate, ScorerName, Share
from innervate_kinds.parts import dataset, scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

EVAL_JOB = Kind(GROUP, VERSION, "EvalJob", "evaljobs")

Decimal = Annotated[str, Field(pattern=r"^-?[0-9]{1,3}(\.[0-9]{1,6})?$", max_length=16)]
"""A decimal as results are written."""
Count = Annotated[int, Field(strict=True, ge=0)]


class InferencePoolRef(Model):
    """An InferencePool by name."""

    name: ObjectName
    """Name of the InferencePool in the same namespace."""


class ReleaseRef(Model):
    """A ModelRelease by name."""

    name: ObjectName
    """Name of the ModelRelease in the same namespace."""


class Target(Model):
    """Whom the questions are asked."""

    inference_pool_ref: InferencePoolRef
    """Pool whose gateway is asked."""
    release_ref: ReleaseRef | None = None
    """Release that is judged; the pool's traffic must have an arm for it, of any weight. Left out,
    each question goes to whichever arm the pool's traffic chooses."""


class Baseline(Model):
    """What the target is compared with: exactly one of `releaseRef` and `value`."""

    release_ref: ReleaseRef | None = None
    """Release that is asked the same questions; the pool's traffic must have an arm for it."""
    value: Share | None = None
    """A fixed mean, as a decimal from 0 to 1."""


class EvalJobSpec(EvalJobTemplate):
    """Whom to ask what, and what must hold. Nothing of it can be changed."""

    target: Target
    """Whom the questions are asked."""
    baseline: Baseline | None = None
    """What the target is compared with; left out, with nothing."""


class Summary(Model):
    """Mean of one metric for the target."""

    metric: ScorerName
    """Name of the scorer."""
    value: Decimal
    """Mean, from 0 to 1."""
    low: Decimal
    """Lower end of the interval that holds the true mean with probability 1 − alpha."""
    high: Decimal
    """Upper end."""
    n: Count
    """Units it stands on: clusters, or samples without one."""


class Comparison(Model):
    """Difference of the gate's metric, or without a gate of the first: target minus baseline."""

    metric: ScorerName
    """Name of the scorer."""
    difference: Decimal
    """Mean difference over the questions that both have answered."""
    low: Decimal
    """Lower bound: the true difference is above it with probability 1 − alpha."""
    high: Decimal
    """Upper bound: the true difference is below it with probability 1 − alpha."""
    n: Count
    """Units it stands on: clusters, or samples without one."""
    detectable: Decimal
    """How far the true difference must be from the gate's limit to be told from it in 8 of 10 such
    jobs."""


class Counts(Model):
    """Questions of the dataset, by what became of them."""

    samples: Count = 0
    """Questions in the dataset."""
    answered: Count = 0
    """Those that every arm has answered and every scorer scored."""
    errors: Count = 0
    """Those without an answer or a score, which stand in no mean."""


class Progress(Model):
    """How far the runner is."""

    asked: Count
    """Questions that were asked, once for each arm."""
    total: Count
    """Questions there are, once for each arm."""
    errors: Count
    """Questions that have no answer or no score so far."""
    time: datetime
    """When this was found changed; at most once a minute."""


class Verdict(StrEnum):
    """What a comparison says of the gate."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNDERPOWERED = "Underpowered"


class EvalJobStatus(Status):
    """What came of the job."""

    verdict: Verdict | None = None
    """Absent without a gate, and before the end."""
    summary: Annotated[tuple[Summary, ...], Field(max_length=16)] = ()
    """Mean of each metric for the target."""
    comparison: Comparison | None = None
    """The target against the baseline; absent without a baseline."""
    progress: Progress | None = None
    """How far the runner is; absent before the first question and after the end."""
    counts: Counts | None = None
    """Questions by what became of them; absent before the end."""
    report: Annotated[str, Field(max_length=512)] | None = None
    """Where the report is: `innervate eval report NAME` shows it."""
    end_time: datetime | None = None
    """When the job ended, with or without a result."""


class EvalJob(Resource[EvalJobSpec, EvalJobStatus]):
    """Asks a release questions with known answers, compares it, and gives a verdict."""


def template_rules(path: str, each: Callable[[Any], Iterable[EvalJobTemplate]]) -> tuple[Rule, ...]:
    """Rules of a template, wherever it stands.

    Parameters
    ----------
    path
        Where it stands, as in `Rule.path`: ``spec``, or ``spec.gates[].evalJobTemplate``.
    each
        Every template that a resource holds there.
    """

    def every(holds: Callable[[EvalJobTemplate], bool]) -> Callable[[Any, Any | None], bool]:
        return lambda resource, _old: all(map(holds, each(resource)))

    return (
        *dataset.rules(f"{path}.dataset", lambda resource: [one.dataset for one in each(resource)]),
        Rule(
            path=f"{path}.scorers",
            rule="self.all(one, self.exists_one(other, other.name == one.name))",
            message="names of scorers must differ",
            holds=every(
                lambda template: len({one.name for one in template.scorers}) == len(template.scorers)
            ),
        ),
        *scorer.rules(
            f"{path}.scorers[]", lambda resource: [one for found in each(resource) for one in found.scorers]
        ),
        Rule(
            path=path,
            rule="!has(self.gate) || self.scorers.exists(one, one.name == self.gate.metric)",
            message="gate.metric must be the name of a scorer",
            holds=every(
                lambda template: (
                    template.gate is None or template.gate.metric in {one.name for one in template.scorers}
                )
            ),
        ),
    )


def _one_baseline(job: EvalJob) -> bool:
    baseline = job.spec.baseline
    return baseline is None or (baseline.release_ref is None) != (baseline.value is None)


def _same(job: EvalJob, old: EvalJob | None) -> bool:
    return old is None or job.spec == old.spec


DEFINITION = Definition(
    kind=EVAL_JOB,
    short_names=("ej",),
    description="EvalJob asks a release questions with known answers, scores and compares it with a "
    "baseline, and gives a verdict: Passed, Failed, or Underpowered.",
    columns=(
        Column("Verdict", ".status.verdict"),
        Column("Score", ".status.summary[0].value"),
        Column("N", ".status.summary[0].n", "integer"),
        Column("Succeeded", '.status.conditions[?(@.type=="Succeeded")].status', priority=1),
        Column("Reason", '.status.conditions[?(@.type=="Succeeded")].reason'),
        Column("Release", ".spec.target.releaseRef.name", priority=1),
        Column("Difference", ".status.comparison.difference", priority=1),
        Column("Low", ".status.comparison.low", priority=1),
        Column("High", ".status.comparison.high", priority=1),
        Column("Asked", ".status.progress.asked", "integer", priority=1),
        Column("Errors", ".status.counts.errors", "integer", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Rule(
            path="spec",
            rule="self == oldSelf",
            message="an EvalJob cannot be changed; create another one",
            holds=_same,
        ),
        *template_rules("spec", lambda job: (job.spec,)),
        Rule(
            path="spec.baseline",
            rule="has(self.releaseRef) != has(self.value)",
            message="exactly one of releaseRef and value must be set",
            holds=lambda job, _old: _one_baseline(job),
        ),
        Rule(
            path="spec",
            rule="!has(self.gate) || has(self.baseline)",
            message="a gate needs a baseline to compare with",
            holds=lambda job, _old: job.spec.gate is None or job.spec.baseline is not None,
        ),
    ),
)
