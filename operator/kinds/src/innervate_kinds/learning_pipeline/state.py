"""All that a decision about a pipeline may depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.kind import Kind
    from innervate_kinds.api.reader import ProbeResult
    from innervate_kinds.learning_pipeline.record import Arm
    from innervate_kinds.model_release.model import Artifact
    from innervate_kinds.parts.jobs import JobState
    from innervate_kinds.parts.placement import Pool as ComputePool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """The pool that the pipeline steers.

    Parameters
    ----------
    uid
        UID of the very object that was looked at.
    generation
        Generation of its specification.
    release
        ModelRelease that it serves while its traffic is empty; empty where its engines serve none.
    traffic
        Its `spec.traffic`.
    acknowledged
        Generation that every gateway serves.
    """

    uid: str
    generation: int
    release: str
    traffic: tuple[Arm, ...] = ()
    acknowledged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseState:
    """A ModelRelease.

    Parameters
    ----------
    verified
        Whether digest and signature are verified; None while that is not known.
    refused
        Whether its bytes or its signature are wrong, which time does not mend.
    message
        Why not.
    artifact
        Where it lies, and its content.
    """

    verified: bool | None
    refused: bool = False
    message: str = ""
    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationState:
    """An EvalJob of the pipeline.

    Parameters
    ----------
    rollout
        Rollout it belongs to.
    finished
        Whether it ended, in either way.
    verdict
        Its verdict, or empty.
    message
        Its own words.
    """

    rollout: int
    finished: bool = False
    verdict: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that was made for one rollout, for tidying up.

    Parameters
    ----------
    kind, name, rollout
        What it is, and for which rollout.
    finished
        Whether it is worth keeping: a job that ended.
    """

    kind: Kind
    name: str
    rollout: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A pipeline's pool, releases, jobs, and what the gateways answered.

    Parameters
    ----------
    pool
        The pool; None where it is not there.
    elder
        Name of an older pipeline that steers the same pool, or empty.
    releases
        ModelReleases that the pipeline may deal with, by name; those that are there.
    training
        The Job that trains the candidate under way.
    placement
        The ComputePool it is placed on; None where it is not there or none is named.
    evaluations
        EvalJobs of the pipeline, by name.
    leftovers
        What was made for single rollouts.
    outcomes, routes
        The gateway's last answers: counts by arm, and ready replicas by arm.
    """

    pool: PoolState | None = None
    elder: str = ""
    releases: Mapping[str, ReleaseState] = field(default_factory=dict)
    training: JobState | None = None
    placement: ComputePool | None = None
    evaluations: Mapping[str, EvaluationState] = field(default_factory=dict)
    leftovers: tuple[Leftover, ...] = ()
    outcomes: ProbeResult | None = None
    routes: ProbeResult | None = None

    def verified(self, release: str | None) -> bool:
        """Whether a release is there and verified."""
        found = self.releases.get(release or "")
        return found is not None and found.verified is True
