"""What came out of a run: ``result.json``, and the result in the last line of the report."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE = "result.json"
_DIGITS = 6


class Rollouts(NamedTuple):
    """Episodes by what became of them, of training and evaluation together."""

    valid: int = 0
    infrastructure: int = 0
    """Void: the environment failed."""
    verifier: int = 0
    """Void: no reward could be given."""


class Result(NamedTuple):
    """Figures of one seed."""

    steps: int
    """Environment steps that were learned from."""
    episodes: int
    """Episodes that the rewards are means of."""
    reward: float
    """Mean over the evaluation episodes."""
    low: float
    high: float
    """95 % interval of the mean: over episodes, or over tasks where a language model answers tasks."""
    rollouts: Rollouts
    chain: Mapping[str, str]
    """Digests of all that decides what an episode is worth."""
    parameters: str
    """SHA-256 of the final parameters."""
    ended: str = "Steps"
    """Which budget ended the training: Steps or Seconds."""
    held_out: float | None = None
    canary: float | None = None
    gap: float | None = None
    """Reward minus held-out reward."""

    def document(self) -> dict[str, Any]:
        """The result as JSON has it."""
        optional = {"heldOut": self.held_out, "canary": self.canary, "gap": self.gap}
        return {
            "steps": self.steps,
            "episodes": self.episodes,
            "reward": round(self.reward, _DIGITS),
            "low": round(self.low, _DIGITS),
            "high": round(self.high, _DIGITS),
            **{name: round(value, _DIGITS) for name, value in optional.items() if value is not None},
            "rollouts": self.rollouts._asdict(),
            "chain": dict(self.chain),
            "parameters": self.parameters,
            "ended": self.ended,
        }

    def kept(self) -> dict[str, Any]:
        """The result as a checkpoint's notes hold it: nothing is rounded."""
        return self._asdict() | {"rollouts": list(self.rollouts), "chain": dict(self.chain)}

    @classmethod
    def taken(cls, kept: Mapping[str, Any]) -> Result:
        """Back from a checkpoint's notes."""
        return cls(**{**kept, "rollouts": Rollouts(*kept["rollouts"])})

    def write(self, directory: Path) -> None:
        """Write `FILE`, whole or not at all."""
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / f".{FILE}"
        with partial.open("w", encoding="utf-8") as file:
            json.dump(self.document(), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(directory / FILE)


class Outcome(NamedTuple):
    """What a trainer gives back."""

    result: Result
    release: str | None = None
    """Digest of the release, where one was published."""


def parameters_digest(parameters: Mapping[str, Any]) -> str:
    """SHA-256 over named arrays: names, types, shapes and bytes, in the names' order."""
    whole = hashlib.sha256()
    for name in sorted(parameters):
        array = np.ascontiguousarray(parameters[name])
        whole.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        whole.update(array.tobytes())
    return f"sha256:{whole.hexdigest()}"
