"""PPO's settings. Knows no JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from innervate_service.config import ConfigModel
from pydantic import Field, model_validator

from innervate_rl import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

Schedule = Literal["Constant", "Linear"]
"""Linear falls to nothing with the last update."""


class Hyperparameters(ConfigModel):
    """How PPO learns. The defaults are those of CartPole-v1 in the zoo of Stable-Baselines3."""

    environments: Annotated[int, Field(ge=1, le=65_536)] = 8
    """Environments side by side."""
    rollout_steps: Annotated[int, Field(ge=1, le=65_536)] = 32
    """Steps in each of them between two updates."""
    batch: Annotated[int, Field(ge=1, le=2**24)] = 256
    """Steps that one gradient is taken of; environments × rolloutSteps is a multiple of it."""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 20
    """How often an update goes over its steps."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.98
    """What a reward one step later is worth."""
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Of generalized advantage estimation."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Of Adam."""
    learning_rate_schedule: Schedule = "Linear"
    """How it changes."""
    clip_range: Annotated[float, Field(gt=0, le=10)] = 0.2
    """How far the ratio of probabilities counts."""
    clip_range_schedule: Schedule = "Linear"
    """How it changes."""
    entropy_weight: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Of the policy's entropy in the loss."""
    value_weight: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Of the value's error in the loss."""
    max_gradient_norm: Annotated[float, Field(gt=0)] = 0.5
    """Longer gradients are shortened to this."""

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.environments * self.rollout_steps % self.batch:
            raise ValueError(
                f"environments x rolloutSteps = {self.environments * self.rollout_steps} "
                f"is no multiple of batch = {self.batch}"
            )
        return self

    @property
    def steps(self) -> int:
        """Steps of one update."""
        return self.environments * self.rollout_steps


def read(texts: Mapping[str, str], environment: str) -> Hyperparameters:
    """Read what was set; the rest is by default what suits the environment.

    Parameters
    ----------
    texts
        What was set.
    environment
        Gymnasium's name of it.
    """
    return settings.hyperparameters(Hyperparameters, {**_DEFAULTS.get(environment, {}), **texts})


_DEFAULTS: dict[str, dict[str, str]] = {
    "Acrobot-v1": {
        "environments": "16",
        "rolloutSteps": "128",
        "batch": "256",
        "epochs": "10",
        "gamma": "0.99",
        "gaeLambda": "0.94",
        "learningRate": "0.001",
    }
}
