"""All that a decision about a run may depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from innervate_kinds.api.kind import Kind
    from innervate_kinds.environment.model import Environment
    from innervate_kinds.model_release.model import ModelRelease
    from innervate_kinds.parts.jobs import JobState
    from innervate_kinds.parts.placement import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a trainer says while it trains.

    Parameters
    ----------
    steps
        Environment steps so far.
    rate
        Environment steps per second.
    reward, held_out
        Mean rewards of its last episodes.
    infrastructure, verifier
        Episodes that were voided.
    """

    steps: int = 0
    rate: float | None = None
    reward: float | None = None
    held_out: float | None = None
    infrastructure: int = 0
    verifier: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedJob:
    """What runs a seed.

    Parameters
    ----------
    kind, uid
        Job or JobSet, and which very object.
    state
        How far it is.
    suspended
        Whether it is told to stand still.
    since
        When it began, or went on after it was held; None while it has not.
    deadline_seconds
        Time that it has from then; None where nothing says so.
    configured
        Whether the file that its pods read is there.
    progress
        What its trainer says; None while it says nothing.
    """

    kind: Kind
    uid: str
    state: JobState
    suspended: bool = False
    since: datetime | None = None
    deadline_seconds: int | None = None
    configured: bool = True
    progress: Progress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a run names, and what runs its seeds.

    Parameters
    ----------
    environment
        The Environment; None where it is not there.
    base
        The ModelRelease that training starts from; None where it is not there or none is named.
    placement
        The ComputePool that the placement names; None where it is not there or none is named.
    seeds
        What runs each seed, by its number, where it is there.
    published
        The ModelRelease that the run makes; None where it is not there.
    job_sets
        Whether the cluster has the kind JobSet.
    """

    environment: Environment | None = None
    base: ModelRelease | None = None
    placement: Pool | None = None
    seeds: Mapping[int, SeedJob] = field(default_factory=dict)
    published: ModelRelease | None = None
    job_sets: bool = False
