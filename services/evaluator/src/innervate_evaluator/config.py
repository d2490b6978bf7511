"""The runner's configuration, as the operator writes it."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from innervate_service.config import Address, ConfigModel, TelemetryConfig
from pydantic import Field

from innervate_evaluator.verdict import GateTest

Name = Annotated[str, Field(min_length=1, max_length=253)]


class ScorerType(StrEnum):
    """How an answer is compared with the expected ones."""

    EXACT = "Exact"
    CONTAINS = "Contains"
    NUMERIC = "Numeric"
    REGEX = "Regex"


class JobConfig(ConfigModel):
    """The EvalJob that is run."""

    namespace: Name
    """Its namespace."""
    name: Name
    """Its name, sent as the task of every request."""


class TargetConfig(ConfigModel):
    """Whom the questions are asked."""

    endpoint: Annotated[str, Field(pattern=r"^https://\S+$", max_length=512)]
    """The gateway."""
    model: Name
    """Name of the model in requests."""
    release: Name | None = None
    """Release that is judged; null lets the gateway choose."""


class BaselineConfig(ConfigModel):
    """What the target is compared with."""

    release: Name | None = None
    """Release that is asked the same questions."""
    value: Annotated[Decimal, Field(ge=0, le=1)] | None = None
    """A fixed mean."""


class DatasetConfig(ConfigModel):
    """The questions."""

    path: Path
    """JSON lines."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """What the file must be."""
    source: Annotated[str, Field(min_length=1, max_length=1024)] = "the dataset"
    """Where the file comes from, for messages."""


class ScorerConfig(ConfigModel):
    """One scorer."""

    name: Name
    """Name of its metric."""
    type: ScorerType
    """How it compares."""
    ignore_case: bool = False
    """For Exact and Contains."""
    tolerance: str | None = None
    """For Numeric."""
    pattern: str | None = None
    """For Regex."""


class GateConfig(ConfigModel):
    """What must hold."""

    metric: Name
    """Scorer that decides."""
    test: GateTest
    """What is shown."""
    margin: Annotated[Decimal, Field(ge=0, le=1)]
    """Difference that does not matter."""
    alpha: Annotated[Decimal, Field(gt=0, lt=Decimal("0.5"))] = Decimal("0.05")
    """Probability left out on each side."""
    min_samples: Annotated[int, Field(ge=1)] = 1
    """With fewer units the verdict is Underpowered."""


class RunConfig(ConfigModel):
    """How the questions are asked."""

    parallelism: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests at the same time."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Order of the questions."""
    max_tokens: Annotated[int, Field(ge=1)] = 256
    """Longest answer."""
    request_seconds: Annotated[float, Field(gt=0)] = 60
    """Time for one answer."""
    retry_seconds: Annotated[float, Field(ge=0)] = 300
    """How long a question is asked again after the infrastructure failed."""
    max_error_share: Annotated[Decimal, Field(ge=0, le=1)] = Decimal("0.02")
    """With more errors there is no verdict."""


class PathsConfig(ConfigModel):
    """Where the pod's mounts are."""

    authorities: Path = Path("/etc/innervate/trust/ca.crt")
    """Whom the gateway's certificate must be of."""
    token: Path = Path("/var/run/secrets/innervate/token")
    """The runner's own token."""
    data: Path = Path("/var/lib/innervate/evaluation")
    """Gets the sample log and the report."""
    scorer: Path = Path("/var/run/innervate/scorer/scorer.sock")
    """The scoring service's socket."""
    termination: Path = Path("/dev/termination-log")
    """Gets the result, for the operator."""


class RunnerConfig(ConfigModel):
    """The whole configuration of a runner."""

    job: JobConfig
    """The EvalJob that is run."""
    target: TargetConfig
    """Whom the questions are asked."""
    baseline: BaselineConfig | None = None
    """What the target is compared with."""
    dataset: DatasetConfig
    """The questions."""
    scorers: Annotated[tuple[ScorerConfig, ...], Field(min_length=1, max_length=16)]
    """What makes metrics of answers."""
    gate: GateConfig | None = None
    """What must hold."""
    run: RunConfig = RunConfig()
    """How the questions are asked."""
    telemetry: TelemetryConfig = TelemetryConfig(service_name="innervate-evaluator")
    """Where traces go."""
    health_listen: Address | None = "0.0.0.0:8081"
    """HTTP ``/livez``; null for none."""
    metrics_listen: Address | None = "0.0.0.0:9464"
    """HTTP ``/metrics``; null for none."""
    paths: PathsConfig = PathsConfig()
    """Mounts."""
