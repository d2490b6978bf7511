"""All that a decision about a release may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innervate_kinds.parts.jobs import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The Job that verifies a release.

    Parameters
    ----------
    job
        The one that was asked for last; None where it is not there.
    policy
        Whether its NetworkPolicy is there.
    """

    job: JobState | None = None
    policy: bool = False
