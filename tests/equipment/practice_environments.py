"""Environments that misbehave on demand: ``practice_environments:Fragile-v0``."""

import os
import subprocess
import time
from typing import Any

import gymnasium
import numpy as np

WALK, RAISE, LEAVE, HANG, FINISH = range(5)
"""Actions."""


class Fragile(gymnasium.Env[dict[str, Any], int]):
    """Counts its steps; some actions end more than an episode."""

    def __init__(self, child: bool = False) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            {
                "count": gymnasium.spaces.Box(0, 1000, (1,), np.float32),
                "kind": gymnasium.spaces.Discrete(3),
            }
        )
        self.action_space = gymnasium.spaces.Discrete(5)
        self._steps = 0
        self._worth = 1.0
        self._child = subprocess.Popen(["sleep", "600"]) if child else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        options = options or {}
        if options.get("refuse"):
            raise ValueError("refused, as asked")
        self._steps = options.get("start", 0)
        self._worth = float(options.get("worth", 1.0))
        return self._seen(), {"process": os.getpid(), "child": self._child and self._child.pid}

    def step(self, action: int) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if action == RAISE:
            raise RuntimeError("raised, as asked")
        if action == LEAVE:
            os._exit(3)
        while action == HANG:
            time.sleep(1)
        self._steps += 1
        return self._seen(), self._worth, action == FINISH, False, {}

    def _seen(self) -> dict[str, Any]:
        return {"count": np.array([self._steps], np.float32), "kind": self._steps % 3}


class Echo(gymnasium.Env[str, str]):
    """Says what it is told, until told to stop."""

    observation_space = gymnasium.spaces.Text(100)
    action_space = gymnasium.spaces.Text(100)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "speak", options or {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return action.upper(), float(len(action)), action == "stop", False, {}


gymnasium.register("Fragile-v0", Fragile, max_episode_steps=50)
gymnasium.register("Echo-v0", Echo)
