"""What PPO reads from an environment's service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from innervate_environments.episodes import Reason
from innervate_environments.spaces import Box, Discrete
from innervate_service.config import ConfigError

from innervate_rl.ppo.source import Void

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_environments.client import Description
    from innervate_environments.episodes import Failure
    from numpy.typing import NDArray


def sizes(about: Description) -> tuple[int, int, int]:
    """Numbers in an observation, actions, and the environment's own number of the first action.

    Raises
    ------
    ConfigError
        Observations are not numbers, or actions are not one of a few.
    """
    seen, done = about.observation_space, about.action_space
    if not isinstance(seen, Box) or not isinstance(done, Discrete):
        raise ConfigError(
            f"environment {about.id}: PPO needs observations of numbers (Box) and actions that are one of "
            f"a few (Discrete), not {type(seen).__name__} and {type(done).__name__}"
        )
    return int(np.prod(seen.shape, dtype=np.int64)), done.n, done.start


def flat(observations: NDArray[Any] | list[str]) -> NDArray[np.float32]:
    """Observations as rows of numbers."""
    array = np.array(observations, np.float32)
    return array.reshape(len(array), -1)


def void_of(errors: Mapping[int, Failure]) -> Void:
    """Count episodes by whose failure ended them."""
    verifier = sum(failure.reason is Reason.UNVERIFIED for failure in errors.values())
    return Void(infrastructure=len(errors) - verifier, verifier=verifier)
