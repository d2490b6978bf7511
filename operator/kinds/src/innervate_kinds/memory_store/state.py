"""All that a decision about a store may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innervate_kinds.api.reader import ProbeResult
    from innervate_kinds.parts.placement import Pool
    from innervate_kinds.parts.pods import Workload
    from innervate_kinds.parts.redis.claim import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A store's children, the pool it is placed on, and what its service answered.

    Parameters
    ----------
    redis, service
        The workloads; None where they are not there.
    claim
        The volume claim of the store's name, whoever made it.
    pool
        The pool that the placement names; None where it is not there or none is named.
    disruption_budget
        Whether there is a PodDisruptionBudget.
    stats
        The service's last answer.
    """

    redis: Workload | None = None
    service: Workload | None = None
    claim: Claim | None = None
    pool: Pool | None = None
    disruption_budget: bool = False
    stats: ProbeResult | None = None
