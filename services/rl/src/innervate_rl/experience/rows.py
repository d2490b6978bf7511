"""What a trainer hands over: rollouts of many steps at once, in columns."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt


class Keep(StrEnum):
    """What of a run's experience is kept."""

    NONE = "None"
    """Nothing of the training; of the evaluation, the few episodes that the run's report shows."""
    BEST = "Best"
    """The valid training episodes of the highest returns."""
    ALL = "All"
    """Every step of the newest episodes."""


class Split(StrEnum):
    """What an episode was for."""

    TRAINING = "training"
    EVALUATION = "evaluation"


class Origin(NamedTuple):
    """Where rows come from: written into every one of them."""

    run: str
    """Namespace and name of the run, as ``namespace/name``."""
    seed: int
    attempt: int
    chain: Mapping[str, Any]
    """Digests of all that decided the episodes, beside the policy: environment, image, reward code,
    tasks, configuration. JSON values."""

    def chain_digest(self) -> str:
        """SHA-256 of the chain, canonically written: what a row names."""
        text = json.dumps(self.chain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Steps of N environments side by side over T steps; anything `numpy.asarray` takes.

    An environment that ended (terminated, truncated or void) begins its next episode in the next
    step, as vector environments with automatic reset do.
    """

    observation: npt.ArrayLike
    """What the action was chosen on: (T, N, ...), numbers."""
    action: npt.ArrayLike
    """(T, N) whole numbers, or (T, N, ...)."""
    reward: npt.ArrayLike
    """(T, N)."""
    terminated: npt.ArrayLike
    """(T, N), true where the episode ended by itself."""
    truncated: npt.ArrayLike
    """(T, N), true where a limit ended it."""
    logprob: npt.ArrayLike | None = None
    """(T, N): log-probability of the action under the policy that chose it."""
    final_observation: npt.ArrayLike | None = None
    """As `observation`: what followed the action, read only where an episode was
    terminated or truncated."""
    valid: npt.ArrayLike | None = None
    """(T, N), false where the environment or a verifier failed: the episode is void. None: all valid."""
    error: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Why a step is void, by its place (t, n)."""
    rewards: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    """(T, N) each: rewards by name, canaries and held-out ones too; NaN where there is none."""
    task: Sequence[str] | None = None
    """(N,): the task an environment works on, where there are tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """Turns of whole text episodes; every field has one entry a turn, an episode's turns in order."""

    episode: Sequence[int]
    """Which of this batch's episodes, 0 and up, without gaps."""
    task: Sequence[str]
    observation: Sequence[str]
    """What the policy was shown since its last turn."""
    action: Sequence[str]
    """What it said."""
    reward: Sequence[float]
    tokens: Sequence[npt.ArrayLike]
    """Token ids of the action."""
    token_logprobs: Sequence[npt.ArrayLike]
    """Log-probability of each of these tokens under the policy that chose them."""
    terminated: Sequence[bool]
    truncated: Sequence[bool]
    valid: Sequence[bool] | None = None
    """False where the environment or a verifier failed: the episode is void. None: all valid."""
    error: Sequence[str | None] | None = None
    rewards: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Rewards by name, canaries and held-out ones too."""


class Cursor(NamedTuple):
    """How far the experience of a checkpoint goes: kept in the checkpoint, handed back on resume."""

    first: int = 0
    """The first part that counts."""
    next: int = 0
    """One after the last."""

    def document(self) -> dict[str, int]:
        """As JSON has it."""
        return {"first": self.first, "next": self.next}

    @classmethod
    def of(cls, document: Mapping[str, int] | None) -> Cursor:
        """Back from JSON; None is the beginning."""
        return cls(**document) if document else cls()
