"""One seed of a run with small networks and few steps: its settings, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_rl import curves, settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from innervate_rl.settings import Settings

SMALL = {"environments": "4", "rolloutSteps": "8", "batch": "16", "epochs": "2"}
"""Settings of PPO: an update of 32 steps."""
PROGRAM = (sys.executable, "-m", "innervate_rl")


class Seed(NamedTuple):
    """A seed in a directory of its own."""

    root: Path
    compile_cache: Path
    """Shared: compiling takes longer than all else."""

    @property
    def files(self) -> Path:
        """What the run keeps."""
        return self.root / "run" / "seeds" / "3"

    def environment(self, *, attempt: int = 0, **changes: Any) -> dict[str, str]:
        """The pod's environment; `changes` are parts of its configuration."""
        configuration = {
            "run": {"namespace": "lab", "name": "cart", "uid": "u"},
            "seed": 3,
            "environment": {"name": "cart", "jax": {"id": "CartPole-v1"}},
            "policy": {"architecture": {"hiddenSizes": [8]}},
            "algorithm": {"name": "PPO", "hyperparameters": SMALL},
            "budget": {"steps": 320},
            "checkpoint": {"everySteps": 64},
            "evaluation": {"episodes": 5},
        } | changes
        config = self.root / "config.json"
        config.write_text(json.dumps(configuration))
        return {
            "INNERVATE_CONFIG": str(config),
            "INNERVATE_ATTEMPT": str(attempt),
            "INNERVATE_RUN": str(self.root / "run"),
            "INNERVATE_REPORT": str(self.root / "report"),
            "INNERVATE_RELEASE_KEYS": str(self.root / "keys"),
            "INNERVATE_COMPILE_CACHE": str(self.compile_cache),
        }

    def settings(self, *, attempt: int = 0, **changes: Any) -> Settings:
        """Settings as the program reads them."""
        return settings.read(self.environment(attempt=attempt, **changes))

    def start(
        self, *, attempt: int = 0, command: Sequence[str] = PROGRAM, **changes: Any
    ) -> subprocess.Popen[bytes]:
        """Start the program, or one that stands for it."""
        return subprocess.Popen(
            command,
            env=os.environ | self.environment(attempt=attempt, **changes),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def report(self) -> list[dict[str, Any]]:
        """Whole lines of the report so far."""
        path = self.root / "report" / "report.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def curves(self) -> list[dict[str, Any]]:
        """The curves without their times, which no two runs share."""
        points = curves.read(self.files / curves.FILE)
        return [{name: value for name, value in point.items() if name != "time"} for point in points]

    def result(self) -> dict[str, Any]:
        """What came out."""
        found: dict[str, Any] = json.loads((self.files / "result.json").read_text())
        return found
