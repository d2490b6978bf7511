"""What a run is to do: the pod's configuration file, and the environment. Knows no JAX."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self, TypeVar

from innervate_learner import report
from innervate_service.config import ConfigError, ConfigModel, TelemetryConfig, config_path, load
from pydantic import Field, ValidationError, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping

RUN = Path("/var/lib/innervate/run")
KEYS = Path("/etc/innervate/release-keys")
TRUST = Path("/etc/innervate/trust")
TOKEN = Path("/var/run/secrets/innervate/token")
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Name = Annotated[str, Field(min_length=1, max_length=253)]


class RunName(ConfigModel):
    """The RLRun."""

    namespace: Annotated[str, Field(max_length=63)] = ""
    """Its namespace."""
    name: Name
    """Its name."""
    uid: Annotated[str, Field(max_length=64)] = ""
    """Its UID."""


class JaxEnvironment(ConfigModel):
    """An environment that runs inside the trainer."""

    id: Literal["CartPole-v1", "Acrobot-v1"]
    """Which."""


class EnvironmentSettings(ConfigModel):
    """Where the run practises: behind an endpoint, or inside the trainer."""

    name: Name
    """Of the Environment."""
    endpoint: Annotated[str, Field(pattern=r"^(grpcs://\S+:[0-9]+|unix:/\S+)$", max_length=512)] | None = None
    """As ``grpcs://host:7443``, or ``unix:/path`` of a server on the same machine."""
    jax: JaxEnvironment | None = None
    """One that runs here."""
    chain: dict[str, str] = Field(default_factory=dict)
    """Digests of all that decides what an episode is worth, as the Environment's status has them."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.endpoint is None) == (self.jax is None):
            raise ValueError("exactly one of endpoint and jax must be given")
        return self


class Architecture(ConfigModel):
    """A network of fully connected layers."""

    hidden_sizes: Annotated[
        tuple[Annotated[int, Field(ge=1, le=8192)], ...], Field(min_length=1, max_length=8)
    ] = (64, 64)
    """Widths of the hidden layers."""


class Release(ConfigModel):
    """A release to begin from."""

    uri: Annotated[str, Field(min_length=1, max_length=2048)]
    """Of its store."""
    digest: Digest
    """Its digest."""


class PolicySettings(ConfigModel):
    """What is trained: a new network, or a release."""

    architecture: Architecture | None = None
    """A new network."""
    release: Release | None = None
    """A release."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.architecture is None) == (self.release is None):
            raise ValueError("exactly one of architecture and release must be given")
        return self


class AlgorithmSettings(ConfigModel):
    """How it is trained."""

    name: Literal["PPO", "GRPO"]
    """The algorithm."""
    hyperparameters: dict[str, str] = Field(default_factory=dict)
    """Its settings by name, as text: each algorithm reads its own."""


class Budget(ConfigModel):
    """Where a run ends."""

    steps: Annotated[int, Field(ge=1, le=10**12)]
    """Environment steps; turns of text."""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """Of training, over all attempts."""


class Staleness(ConfigModel):
    """How old experience may be."""

    max_policy_lag: Annotated[int, Field(ge=0, le=1024)] = 0
    """Updates between the policy that acted and the policy that learns from it; 0 is synchronous."""


class CheckpointSettings(ConfigModel):
    """When checkpoints are written."""

    every_steps: Annotated[int, Field(ge=1)] = 10_000
    """Environment steps between two."""


class EvaluationSettings(ConfigModel):
    """How the finished policy is measured."""

    episodes: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Fresh ones."""


class ExperienceSettings(ConfigModel):
    """Which episodes are kept."""

    keep: Literal["None", "Best", "All"] = "None"
    """Which."""
    max_episodes: Annotated[int, Field(ge=0)] = 1000
    """How many at most."""


class PublishSettings(ConfigModel):
    """Where the trained policy goes as a release."""

    uri: Annotated[str, Field(pattern=r"^(pvc|file)://\S+$", max_length=2048)]
    """Of a store."""


class Configuration(ConfigModel):
    """The configuration file."""

    run: RunName
    """What this is part of."""
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Of everything random."""
    environment: EnvironmentSettings
    """Where it practises."""
    policy: PolicySettings = PolicySettings(architecture=Architecture())
    """What is trained."""
    algorithm: AlgorithmSettings
    """How."""
    budget: Budget
    """For how long."""
    staleness: Staleness = Staleness()
    """From which experience."""
    checkpoint: CheckpointSettings = CheckpointSettings()
    """When it can go on after a crash."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How it is measured."""
    experience: ExperienceSettings = ExperienceSettings()
    """What is kept of it."""
    publish: PublishSettings | None = None
    """Where the outcome goes; null for nowhere."""
    telemetry: TelemetryConfig = TelemetryConfig(service_name="innervate-rl")
    """Where traces go."""

    @property
    def decisive(self) -> dict[str, object]:
        """All that decides what comes out of a training; a checkpoint of another is never gone on with."""
        return self.model_dump(
            mode="json",
            include={"seed", "environment", "policy", "algorithm", "budget", "staleness", "checkpoint"},
        )


class Settings(NamedTuple):
    """Everything from outside that a run depends on."""

    configuration: Configuration
    attempt: int
    image: str
    """Image that runs this."""
    directory: Path
    """Of this seed; it outlives the pod."""
    report: Path
    """Directory for the report."""
    keys: Path
    """Directory of public keys whose signatures count."""
    trust: Path
    """Directory with ``ca.crt`` of the services."""
    token: Path
    """File with this workload's token."""
    mounts: Path | None
    """Where claims are mounted, where it is not the usual place."""
    compile_cache: Path | None
    """Directory for compiled programs, shared by runs; none where it is not given."""
    traceparent: str
    """Of the span that this run is part of."""


M = TypeVar("M", bound=ConfigModel)


def hyperparameters(model: type[M], texts: Mapping[str, str]) -> M:
    """Read an algorithm's own settings; texts are read as what they are meant to be: ``"150"`` is 150.

    Raises
    ------
    ConfigError
        A setting is wrong or unknown; every one is named.
    """
    try:
        return model.model_validate(dict(texts))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'together'}: {one['msg']}" for one in error.errors()
        )
        raise ConfigError(f"algorithm.hyperparameters: {problems}") from error


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration file and the environment.

    Raises
    ------
    ConfigError
        The file is absent or a field is wrong; every wrong field is named.
    """
    named = environment.get("INNERVATE_CONFIG")
    configuration = load(Path(named) if named else config_path(), Configuration)
    try:
        attempt = report.attempt_number(environment.get(report.ATTEMPT))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    root = Path(environment.get("INNERVATE_RUN") or RUN)
    mounts, cache = (environment.get(name) for name in ("INNERVATE_RELEASES", "INNERVATE_COMPILE_CACHE"))
    return Settings(
        configuration=configuration,
        attempt=attempt,
        image=environment.get("INNERVATE_IMAGE") or "innervate/rl:0.1.0",
        directory=root / "seeds" / str(configuration.seed),
        report=Path(environment.get("INNERVATE_REPORT") or report.DIRECTORY),
        keys=Path(environment.get("INNERVATE_RELEASE_KEYS") or KEYS),
        trust=Path(environment.get("INNERVATE_TRUST") or TRUST),
        token=Path(environment.get("INNERVATE_TOKEN_FILE") or TOKEN),
        mounts=Path(mounts) if mounts else None,
        compile_cache=Path(cache) if cache else None,
        traceparent=environment.get("TRACEPARENT") or "",
    )
