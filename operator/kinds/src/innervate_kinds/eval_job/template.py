"""The part of an EvalJob that does not say whom it judges: shared with whoever makes EvalJobs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.quantity import PositiveQuantity
from innervate_kinds.api.resource import Model
from innervate_kinds.api.scheduling import ObjectName, Placement, Resources
from innervate_kinds.parts.dataset import Dataset
from innervate_kinds.parts.scorer import Scoring

Share = Annotated[str, Field(pattern=r"^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$", max_length=8)]
"""A decimal from 0 to 1."""
Alpha = Annotated[str, Field(pattern=r"^0\.([1-4][0-9]{0,5}|0{1,5}[1-9][0-9]{0,5})$", max_length=16)]
"""A decimal above 0 and below 0.5."""
ScorerName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]


class GateTest(StrEnum):
    """What the gate shows of the target."""

    NON_INFERIOR = "NonInferior"
    SUPERIOR = "Superior"


class Underpowered(StrEnum):
    """What an underpowered comparison means for the gate."""

    FAIL = "Fail"
    HOLD = "Hold"


class Metric(Model):
    """What is measured."""

    name: ScorerName
    """Name of the metric that it makes."""


class Scorer(Scoring, Metric):
    """Turns an answer into a value from 0, wrong, to 1, right."""


class Gate(Model):
    """What must hold for the target to pass."""

    metric: ScorerName
    """Name of the scorer that decides."""
    test: GateTest = GateTest.NON_INFERIOR
    """`NonInferior`: the target is worse than the baseline by less than `margin`. `Superior`: it is
    better by more than `margin`."""
    margin: Share
    """A difference of means that does not matter, as a decimal."""
    alpha: Alpha = "0.05"
    """Probability of a wrong `Passed`, and of a wrong `Failed`, that is put up with."""
    min_samples: Annotated[int, Field(strict=True, ge=1, le=100_000)] = 1
    """With fewer comparable units (clusters, or samples without one) the verdict is `Underpowered`."""
    on_underpowered: Underpowered = Underpowered.FAIL
    """What `Underpowered` makes of the condition `Passed`: `Fail` makes it False, `Hold` Unknown."""


class Run(Model):
    """How the questions are asked."""

    parallelism: Annotated[int, Field(strict=True, ge=1, le=256)] = 4
    """Requests that are under way at the same time."""
    seed: Annotated[int, Field(strict=True, ge=0, le=2_147_483_647)] = 0
    """Determines the order of the questions and which arm is asked first; sent with each request."""
    max_tokens: Annotated[int, Field(strict=True, ge=1, le=131_072)] = 256
    """Most tokens of an answer."""
    request_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60
    """Time for one answer; the gateway is told."""
    retry_seconds: Annotated[int, Field(strict=True, ge=0, le=86_400)] = 300
    """How long a question is asked again after the infrastructure failed, before it counts as an error."""
    max_error_share: Share = "0.02"
    """With a larger share of questions in error there is no verdict; the job fails."""
    deadline_seconds: Annotated[int, Field(strict=True, ge=1, le=2_592_000)] = 86_400
    """Time for the whole job; then it fails."""
    placement: Placement | None = None
    """On which nodes the runner runs; left out, anywhere."""
    resources: Resources | None = None
    """Compute resources of the runner."""


class Storage(Model):
    """Volume for the sample log and the report, deleted with the job."""

    size: PositiveQuantity = "1Gi"
    """Size of the volume."""
    storage_class_name: ObjectName | None = None
    """Storage class of the volume; left out, the cluster's default."""


class EvalJobTemplate(Model):
    """An EvalJob without its target and its baseline: what is asked, and what must hold."""

    dataset: Dataset
    """Questions with known answers."""
    scorers: Annotated[tuple[Scorer, ...], Field(min_length=1, max_length=16)]
    """Each makes one metric; names must differ."""
    gate: Gate | None = None
    """What must hold; left out, there is a report and no verdict."""
    run: Run = Field(default_factory=Run)
    """How the questions are asked."""
    storage: Storage = Field(default_factory=Storage)
    """Volume for the sample log and the report."""
