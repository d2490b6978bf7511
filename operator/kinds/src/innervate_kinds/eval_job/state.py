"""All that a decision about an eval job may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innervate_kinds.api.reader import ProbeResult
    from innervate_kinds.inference_pool.model import InferencePool
    from innervate_kinds.parts.jobs import JobState
    from innervate_kinds.parts.placement import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What an eval job names, and its Job.

    Parameters
    ----------
    target
        The InferencePool that is asked; None where it is not there.
    missing_releases
        Releases that the job names and that are not there.
    dataset
        Whether the ConfigMap or the PersistentVolumeClaim with the questions is there.
    placement
        The ComputePool that the placement names; None where it is not there or none is named.
    job
        The Job that runs; None where it is not there.
    progress
        What its newest runner last told of itself.
    """

    target: InferencePool | None = None
    missing_releases: tuple[str, ...] = ()
    dataset: bool = False
    placement: Pool | None = None
    job: JobState | None = None
    progress: ProbeResult | None = None
