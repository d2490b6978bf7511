"""What a user declares as a LearningPipeline."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.resource import Model, Resource
from innervate_kinds.api.room import Column, Definition, Rule
from innervate_kinds.api.scheduling import ObjectName, Placement, Resources, SecretSource
from innervate_kinds.eval_job.model import template_rules
from innervate_kinds.eval_job.template import Alpha, EvalJobTemplate, Share
from innervate_kinds.inference_pool.model import ReleaseRef
from innervate_kinds.learning_pipeline.record import LearningPipelineStatus
from innervate_kinds.model_release.model import SEGMENTS

LEARNING_PIPELINE = Kind(GROUP, VERSION, "LearningPipeline", "learningpipelines")

Seconds = Annotated[int, Field(strict=True, ge=0, le=31_536_000)]
"""A duration of up to a year."""


class InferencePoolRef(Model):
    """An InferencePool by name."""

    name: ObjectName
    """Name of the InferencePool in the same namespace."""


class Method(StrEnum):
    """How a candidate is trained."""

    REPLAY = "Replay"


class Base(Model):
    """What training starts from."""

    release_ref: ReleaseRef
    """Release whose weights training starts from."""


class ClaimSource(Model):
    """Data on a volume."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim; it is mounted read-only."""


class ConfigMapSource(Model):
    """Data in a ConfigMap, each key a file."""

    name: ObjectName
    """Name of the ConfigMap."""


class DataSource(Model):
    """Data to train on: exactly one of the two places."""

    persistent_volume_claim: ClaimSource | None = None
    """The files lie on a volume."""
    config_map_ref: ConfigMapSource | None = None
    """The files stand in a ConfigMap."""


class Output(Model):
    """Where the trained release goes."""

    uri: Annotated[
        str,
        Field(pattern=rf"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?{SEGMENTS}$", max_length=1024),
    ]
    """Release store on a volume, `pvc://<claim>[/<path>]`; the Job mounts the claim for writing."""


class Train(Model):
    """A Job that trains the candidate when its turn comes."""

    method: Method = Method.REPLAY
    """`Replay`: fine-tuning on new examples mixed with old ones."""
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Image of the trainer; left out, the project's own. Any image will do that reports as trainers do."""
    base: Base | None = None
    """What training starts from; left out, the stable release."""
    data: Annotated[tuple[DataSource, ...], Field(min_length=1, max_length=8)]
    """Data to train on."""
    hyperparameters: Annotated[dict[str, Annotated[str, Field(max_length=256)]], Field(max_length=64)] = (
        Field(default_factory=dict)
    )
    """Settings of the trainer, by name."""
    output: Output
    """Where the trained release goes."""
    signing: SecretSource | None = None
    """Key that the release is signed with; left out, somebody else signs it before it is verified."""
    deadline_seconds: Annotated[int, Field(strict=True, ge=1, le=2_592_000)] = 86_400
    """Time for training; then the candidate has failed."""
    placement: Placement | None = None
    """On which nodes the trainer runs; left out, anywhere."""
    resources: Resources | None = None
    """Compute resources of the trainer."""


class Candidate(Model):
    """A release to try: exactly one of `releaseRef` and `train`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=30)]
    """Name of the candidate; names must differ. A candidate has one turn, and another one when its
    content changes."""
    release_ref: ReleaseRef | None = None
    """Release that is there, or will be."""
    train: Train | None = None
    """Release that is trained when its turn comes."""


class Approval(StrEnum):
    """Who lets a candidate take traffic."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class Gate(Model):
    """Questions that a candidate must answer before it takes traffic."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=24)]
    """Name of the gate; names must differ."""
    eval_job_template: EvalJobTemplate
    """EvalJob whose target is the candidate and whose baseline is the stable release; it needs a `gate`."""


class RolloutStep(Model):
    """A share of the traffic, and how long the candidate is judged on it."""

    percent: Annotated[int, Field(strict=True, ge=1, le=99)]
    """The candidate's share of the traffic."""
    min_seconds: Seconds = 60
    """Least time that the step takes."""
    min_units: Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)] = 50
    """Least number of the candidate's sessions with feedback during the step; requests without a
    session count by themselves."""
    max_seconds: Annotated[int, Field(strict=True, ge=1, le=31_536_000)] = 86_400
    """When this time is over and the step has not passed, it is inconclusive."""


class Promotion(StrEnum):
    """What the last step must show."""

    NO_DETECTION = "NoDetection"
    NON_INFERIORITY = "NonInferiority"


class Judge(Model):
    """How feedback judges the candidate."""

    feedback: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", min_length=1, max_length=63)
    ] = "success"
    """Name of the feedback; a value of at least one half is a success."""
    margin: Share = "0.05"
    """A loss of success probability that is put up with, as a decimal."""
    alpha: Alpha = "0.05"
    """Probability of rolling back a candidate that is within the margin, over all looks of a rollout;
    and of showing one non-inferior that is not."""
    promotion: Promotion = Promotion.NO_DETECTION
    """`NoDetection`: the last step passes when the candidate is shown non-inferior, or when its
    `maxSeconds` are over without a detection and with `minUnits`. `NonInferiority`: only when shown."""


class Inconclusive(StrEnum):
    """What an inconclusive step leads to."""

    ROLLBACK = "Rollback"
    HOLD = "Hold"


class Rollout(Model):
    """How a candidate comes to take the traffic."""

    ready_seconds: Annotated[int, Field(strict=True, ge=1, le=86_400)] = 900
    """Time for the candidate's engine to become ready; then the candidate has failed."""
    steps: Annotated[tuple[RolloutStep, ...], Field(min_length=1, max_length=16)] = (
        RolloutStep(percent=10),
        RolloutStep(percent=50),
    )
    """Shares of the traffic, in ascending order; after the last one the candidate takes all of it."""
    judge: Judge = Field(default_factory=Judge)
    """How feedback judges the candidate."""
    on_inconclusive: Inconclusive = Inconclusive.ROLLBACK
    """What a step leads to that did not pass in its `maxSeconds`: `Rollback`, or `Hold` until it passes
    or somebody commands."""
    keep_warm_seconds: Seconds = 600
    """How long the release before stays ready after a promotion, so that it can be taken back at once."""


class History(Model):
    """How much of the past is kept."""

    keep: Annotated[int, Field(strict=True, ge=1, le=100)] = 20
    """Entries in `status.history`; EvalJobs and Jobs of older rollouts are deleted."""


class LearningPipelineSpec(Model):
    """Which candidates are tried on which pool, and what they must show."""

    inference_pool_ref: InferencePoolRef
    """Pool whose traffic the pipeline owns; cannot be changed."""
    candidates: Annotated[tuple[Candidate, ...], Field(max_length=64)] = ()
    """Releases to try, one at a time and in this order."""
    approval: Approval = Approval.AUTOMATIC
    """`Manual`: a candidate waits for `innervate pipeline approve` before it takes traffic."""
    gates: Annotated[tuple[Gate, ...], Field(max_length=8)] = ()
    """What a candidate must pass before it takes traffic; all of them."""
    rollout: Rollout = Field(default_factory=Rollout)
    """How a candidate comes to take the traffic."""
    history: History = Field(default_factory=History)
    """How much of the past is kept."""


class LearningPipeline(Resource[LearningPipelineSpec, LearningPipelineStatus]):
    """Tries candidates on a pool one after another, judges them, and promotes or rolls back."""


def _differ(names: list[str]) -> bool:
    return len(set(names)) == len(names)


def _sources(pipeline: LearningPipeline) -> list[DataSource]:
    return [source for each in pipeline.spec.candidates if each.train for source in each.train.data]


_TEMPLATE = "spec.gates[].evalJobTemplate"

DEFINITION = Definition(
    kind=LEARNING_PIPELINE,
    short_names=("lp",),
    description="LearningPipeline tries candidate releases on an InferencePool one after another: gates "
    "by EvalJobs, a growing share of the traffic judged live on feedback, then promotion, or rollback by "
    "itself.",
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Stable", ".status.stable"),
        Column("Candidate", ".status.candidate.name"),
        Column("Step", ".status.step.name"),
        Column("Percent", ".status.step.percent", "integer"),
        Column("Last", ".status.history[0].verdict"),
        Column("Rollout", ".status.rollout", "integer", priority=1),
        Column("Release", ".status.candidate.release", priority=1),
        Column("Detection", ".status.detection.id", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Rule(
            path="spec.inferencePoolRef",
            rule="self == oldSelf",
            message="a pipeline stays with its pool; create another LearningPipeline",
            holds=lambda pipeline, old: (
                old is None or pipeline.spec.inference_pool_ref == old.spec.inference_pool_ref
            ),
        ),
        Rule(
            path="spec.candidates",
            rule="self.all(one, self.exists_one(other, other.name == one.name))",
            message="names of candidates must differ",
            holds=lambda pipeline, _old: _differ([each.name for each in pipeline.spec.candidates]),
        ),
        Rule(
            path="spec.candidates[]",
            rule="has(self.releaseRef) != has(self.train)",
            message="exactly one of releaseRef and train must be set",
            holds=lambda pipeline, _old: all(
                (each.release_ref is None) != (each.train is None) for each in pipeline.spec.candidates
            ),
        ),
        Rule(
            path="spec.candidates[].train.data[]",
            rule="has(self.persistentVolumeClaim) != has(self.configMapRef)",
            message="exactly one of persistentVolumeClaim and configMapRef must be set",
            holds=lambda pipeline, _old: all(
                (each.persistent_volume_claim is None) != (each.config_map_ref is None)
                for each in _sources(pipeline)
            ),
        ),
        Rule(
            path="spec.gates",
            rule="self.all(one, self.exists_one(other, other.name == one.name))",
            message="names of gates must differ",
            holds=lambda pipeline, _old: _differ([each.name for each in pipeline.spec.gates]),
        ),
        Rule(
            path=_TEMPLATE,
            rule="has(self.gate)",
            message="gate must be set: without one there is no verdict",
            holds=lambda pipeline, _old: all(
                each.eval_job_template.gate is not None for each in pipeline.spec.gates
            ),
        ),
        *template_rules(_TEMPLATE, lambda pipeline: [each.eval_job_template for each in pipeline.spec.gates]),
        Rule(
            path="spec.rollout.steps",
            rule="self.map(one, one.percent).isSorted()",
            message="percent must not fall from step to step",
            holds=lambda pipeline, _old: (
                [each.percent for each in pipeline.spec.rollout.steps]
                == sorted(each.percent for each in pipeline.spec.rollout.steps)
            ),
        ),
        Rule(
            path="spec.rollout.steps[]",
            rule="self.minSeconds <= self.maxSeconds",
            message="minSeconds must not be above maxSeconds",
            holds=lambda pipeline, _old: all(
                each.min_seconds <= each.max_seconds for each in pipeline.spec.rollout.steps
            ),
        ),
    ),
)
