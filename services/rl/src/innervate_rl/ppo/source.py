"""Where experience comes from: what the trainer asks of an environment, wherever that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from innervate_rl.experience.rows import Steps
    from innervate_rl.ppo.learning import Batch
    from innervate_rl.ppo.network import Parameters

STREAM_TRAINING, STREAM_EVALUATION = 1, 2


class Void(NamedTuple):
    """Episodes that do not count."""

    infrastructure: int = 0
    verifier: int = 0

    def plus(self, other: Void) -> Void:
        """Both together."""
        return Void(self.infrastructure + other.infrastructure, self.verifier + other.verifier)


class Rollout(NamedTuple):
    """Steps of all environments between two updates."""

    batch: Batch
    episodes: Any
    """How many valid ones ended."""
    returns: Any
    """Sum over these."""
    lengths: Any
    """Sum over these."""
    void: Void = Void()
    failures: Mapping[tuple[int, int], str] = {}
    """Why an episode ended without counting, by time and environment."""


class Evaluated(NamedTuple):
    """Fresh episodes of a finished policy."""

    returns: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, Any]
    steps: Steps
    """``[time, episode, ...]``; episode n ends with step ``lengths[n] - 1``."""
    void: Void = Void()


class Source(Protocol):
    """Environments side by side, stepped by the trainer's policy."""

    observation_size: int
    actions: int
    chain: Mapping[str, str]
    """Digests of all that decides what an episode is worth."""

    def state(self) -> Any:
        """Arrays that a checkpoint keeps."""

    def notes(self) -> dict[str, Any]:
        """What else a checkpoint keeps, as JSON."""

    def restore(self, state: Any, notes: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, as if nothing had happened since."""

    def rollout(self, parameters: Parameters, iteration: int) -> Rollout:
        """Take steps; all that is random in them depends on the seed and the iteration.

        Raises
        ------
        RunError
            The environment cannot be used.
        """

    def evaluate(self, parameters: Parameters, episodes: int) -> Evaluated:
        """Play fresh episodes by the policy's likeliest actions.

        Raises
        ------
        RunError
            The environment cannot be used.
        """

    def close(self) -> None:
        """Give everything back."""
