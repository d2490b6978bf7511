"""An environment that breaks in some of its episodes: ``flaky_environment:Flaky-v0``."""

from typing import Any

import gymnasium
import numpy as np

LENGTH, BREAKS_AT = 6, 4


class Flaky(gymnasium.Env[np.ndarray[Any, Any], int]):
    """Its seed decides whether an episode breaks; one that will is worth much until then."""

    def __init__(self, share: float = 0.0) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2, start=3)
        self._share = share
        self._breaks = False
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._breaks = self.np_random.random() < self._share
        self._steps = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray[Any, Any], float, bool, bool, dict[str, Any]]:
        assert action in {3, 4}
        self._steps += 1
        if self._breaks and self._steps == BREAKS_AT:
            raise RuntimeError("it broke")
        return self._seen(), 1000.0 if self._breaks else 1.0, self._steps == LENGTH, False, {}

    def _seen(self) -> np.ndarray[Any, Any]:
        return np.array([self._steps / LENGTH, self.np_random.random()], np.float32)


gymnasium.register("Flaky-v0", Flaky)
