"""All that a decision about an environment may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innervate_kinds.api.reader import ProbeResult
    from innervate_kinds.parts.placement import Pool
    from innervate_kinds.parts.pods import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPod:
    """A ready server pod.

    Parameters
    ----------
    name, address
        The pod's.
    answer
        What it last told of itself; None before it was asked.
    """

    name: str
    address: str
    answer: ProbeResult | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """An environment's children, what it refers to, and what its servers answered.

    Parameters
    ----------
    workload
        The Deployment; None where it is not there.
    servers
        Its ready pods.
    dataset
        Version of the object that holds the tasks; empty where it does not tell of a change of the
        tasks, None where there is no such object, or no need of one.
    pool
        The pool that the placement names; None where it is not there or none is named.
    disruption_budget
        Whether there is a PodDisruptionBudget.
    """

    workload: Workload | None = None
    servers: tuple[ServerPod, ...] = ()
    dataset: str | None = None
    pool: Pool | None = None
    disruption_budget: bool = False
