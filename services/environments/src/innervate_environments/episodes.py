"""What happens in slots, in the words that core, server and client share."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Reason(IntEnum):
    """Why a slot's episode is void. The numbers are the interface's."""

    UNSPECIFIED = 0
    """A reason that this version does not know."""
    CRASHED = 1
    """The instance's process ended."""
    HUNG = 2
    """It took longer than a step may take and was ended."""
    FAILED = 3
    """The environment raised an error."""
    UNVERIFIED = 4
    """The verifier could not be asked, or gave no value."""
    INVALID_ACTION = 5
    """The action is not in the action space."""
    NO_EPISODE = 6
    """The slot has no episode: it was not reset, or its last one ended."""


class Failure(NamedTuple):
    """Why a slot has no result."""

    reason: Reason
    message: str


class Role(StrEnum):
    """What a reward is for."""

    TRAINED = "Trained"
    """Part of the reward that is learned from."""
    CANARY = "Canary"
    """Looks for what an honest solution never does. Never learned from."""
    HELD_OUT = "HeldOut"
    """Judges the same outputs in another way. Never learned from."""


class Named(NamedTuple):
    """Rewards of one slot by name."""

    values: dict[str, float]
    failures: dict[str, str]
    """Why a reward could not be given: not a value of 0."""
