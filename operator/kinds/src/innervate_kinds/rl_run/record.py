"""What is told of an RLRun."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.resource import Model, Status

Decimal = Annotated[str, Field(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,6})?$", max_length=24)]
"""A decimal as results are written."""
Count = Annotated[int, Field(strict=True, ge=0)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
"""A SHA-256 digest."""


class SeedState(StrEnum):
    """Where a seed is."""

    PENDING = "Pending"
    """Its turn has not come, its run is suspended, or its pod does not run yet."""
    RUNNING = "Running"
    """It trains."""
    SUCCEEDED = "Succeeded"
    """It is trained and evaluated."""
    FAILED = "Failed"
    """It failed for good."""
    STOPPED = "Stopped"
    """The run came to its end without it."""


class Rejected(Model):
    """Episodes that were voided: they count neither as a success nor as a failure of the policy."""

    infrastructure: Count = 0
    """Because an environment, the network or a process failed."""
    verifier: Count = 0
    """Because what gives rewards failed."""


class SeedStatus(Model):
    """One seed."""

    seed: Count
    """Its number, from 0."""
    state: SeedState
    """`Pending`, `Running`, `Succeeded`, `Failed`, or `Stopped` where the run ended without it."""
    steps: Count = 0
    """Environment steps so far."""
    reward: Decimal | None = None
    """Mean reward of the evaluation's episodes; before it, of the last training episodes."""
    held_out: Decimal | None = None
    """Mean held-out reward, on which the policy is never trained."""
    gap: Decimal | None = None
    """Trained minus held-out reward: large where the policy exploits the reward."""
    rejected: Rejected | None = None
    """Episodes that were voided."""
    release: Digest | None = None
    """Digest of the release that was made of the final policy."""
    parameters: Annotated[str, Field(max_length=80)] | None = None
    """Digest of the final policy's parameters."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why it failed, or what it waits for."""


class GateStatus(Model):
    """What the gate found."""

    metric: Annotated[str, Field(max_length=16)]
    """`Reward` or `HeldOut`."""
    mean: Decimal
    """Mean over the seeds' means."""
    low: Decimal
    """One-sided lower bound of the true mean, by Student's t over the seeds' means."""
    threshold: Decimal
    """What `low` must reach."""
    gap: Decimal | None = None
    """Largest gap of a seed between trained and held-out reward, where `maxGap` is set."""
    passed: bool
    """Whether the gate is passed."""
    time: datetime
    """When the last seed's end was judged."""


class RLRunStatus(Status):
    """How far the run is, and what came of it."""

    steps: Count | None = None
    """Environment steps of all seeds so far."""
    rate: Decimal | None = None
    """Environment steps per second of the seeds that train."""
    best_reward: Decimal | None = None
    """Highest mean reward of a seed."""
    seeds: Annotated[tuple[SeedStatus, ...], Field(max_length=32)] = ()
    """Each seed."""
    rejected: Rejected | None = None
    """Episodes of all seeds that were voided."""
    gate: GateStatus | None = None
    """What the gate found; absent without one and before the last seed's end."""
    best_seed: Count | None = None
    """Seed whose release is published."""
    release: Annotated[str, Field(max_length=253)] | None = None
    """ModelRelease that was made of the best seed."""
    start_time: datetime | None = None
    """When the first seed's Job was seen."""
    end_time: datetime | None = None
    """When the run ended, in either way."""


ACTS_ON = ("gate", "bestSeed", "endTime")
"""What the next plan acts on, as it stands in the status."""
