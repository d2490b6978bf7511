"""The configuration of a server of environments, as the operator writes it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Self

from innervate_service.authorization import AccountPattern
from innervate_service.config import ConfigModel, ObjectName, ServiceConfig
from pydantic import Field, field_validator, model_validator

from innervate_environments.episodes import Role
from innervate_environments.verifying import ScorerType

_PACKAGE: Final = "verifiers:"
_Name = Annotated[str, Field(min_length=1, max_length=253)]


class AccessRule(ConfigModel):
    """These accounts may use the environment."""

    service_accounts: Annotated[tuple[AccountPattern, ...], Field(min_length=1, max_length=64)]
    """Whom it is about."""


class GymnasiumConfig(ConfigModel):
    """An environment that is registered with Gymnasium."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    """As ``CartPole-v1``, or ``module:Name-v0`` for one that a module registers, or ``verifiers:name`` for a
    package written for the library ``verifiers``."""
    options: dict[str, str] = Field(default_factory=dict)
    """Arguments of its maker; every value is JSON."""

    @field_validator("options")
    @classmethod
    def _json(cls, options: dict[str, str]) -> dict[str, str]:
        for name, text in options.items():
            try:
                json.loads(text)
            except ValueError:
                raise ValueError(f"options.{name} = {text!r} is no JSON; quote a text twice") from None
        return options

    def arguments(self) -> dict[str, Any]:
        """The maker's arguments."""
        return {name: json.loads(text) for name, text in self.options.items()}

    @property
    def package(self) -> str | None:
        """The package for ``verifiers`` that the id names; None for an environment of Gymnasium's."""
        return self.id.removeprefix(_PACKAGE) if self.id.startswith(_PACKAGE) else None


class TasksConfig(ConfigModel):
    """A set of tasks, judged by rewards."""

    path: Path
    """JSON lines."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """What the file must be."""


class SourceConfig(ConfigModel):
    """What there is to practise in: one of these."""

    gymnasium: GymnasiumConfig | None = None
    """An environment of Gymnasium."""
    tasks: TasksConfig | None = None
    """Tasks."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.gymnasium is None) == (self.tasks is None):
            raise ValueError("exactly one of gymnasium and tasks must be given")
        return self


class ScorerConfig(ConfigModel):
    """How an answer is scored."""

    type: ScorerType
    """How it compares."""
    ignore_case: bool = False
    """For Exact and Contains."""
    tolerance: str | None = None
    """For Numeric."""
    pattern: str | None = None
    """For Regex."""


class RewardConfig(ConfigModel):
    """A named reward."""

    name: _Name
    """Its name."""
    weight: Annotated[Decimal, Field(ge=-1_000_000, le=1_000_000, allow_inf_nan=False)] = Decimal("1.0")
    """In the sum of the trained rewards."""
    role: Role = Role.TRAINED
    """What it is for."""
    scorer: ScorerConfig
    """Gives its value."""


class EnvironmentConfig(ConfigModel):
    """What is served."""

    namespace: _Name
    """Namespace of the Environment: its accounts may use it."""
    name: _Name
    """Name of the Environment."""
    source: SourceConfig
    """What there is to practise in."""
    rewards: Annotated[tuple[RewardConfig, ...], Field(max_length=16)] = ()
    """Of tasks."""
    max_episode_steps: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Steps after which an episode is truncated; null for what the environment itself declares."""
    capacity: Annotated[int, Field(ge=1, le=16_384)] = 64
    """Slots of this server."""
    lease_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """A lease without a stream that is not used for so long ends."""
    step_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """A step that takes longer is ended, with its process. A scorer that is away is waited for as long."""
    instances_per_process: Annotated[int, Field(ge=1, le=1024)] = 32
    """Most instances that share a process, and its end."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.source.tasks is not None and not any(r.role is Role.TRAINED for r in self.rewards):
            raise ValueError("rewards must hold at least one of role Trained, or tasks teach nothing")
        if self.source.tasks is None and self.rewards:
            raise ValueError("rewards are for tasks; Gymnasium's environments have their own")
        names = [reward.name for reward in self.rewards]
        if len(set(names)) != len(names):
            raise ValueError(f"rewards have a name twice: {', '.join(names)}")
        return self


class ScoringConfig(ConfigModel):
    """The scoring service beside this server."""

    socket: Path = Path("/var/run/innervate/scorer/scorer.sock")
    """Where it serves."""
    image: Annotated[str, Field(max_length=512)] = ""
    """Its image: part of the rewards' digest."""


class ServerConfig(ConfigModel):
    """The whole configuration of a server."""

    service: ServiceConfig = ServiceConfig()
    """What every service has."""
    environment: EnvironmentConfig
    """What is served."""
    scorer: ScoringConfig | None = None
    """Gives the rewards of tasks."""
    image: Annotated[str, Field(max_length=512)] = ""
    """Image of this server; its digest, where it has one, is part of the chain."""
    access: Annotated[tuple[AccessRule, ...], Field(max_length=64)] = ()
    """Who may use it; without rules every account of the Environment's namespace."""
    operator: ObjectName | None = None
    """The operator's account: it may ask what the environment is, and nothing else."""

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if self.environment.rewards and self.scorer is None:
            raise ValueError("scorer is missing; rewards need one")
        return self
