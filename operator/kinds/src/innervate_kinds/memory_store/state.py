"""All that a decision about a store may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.api.reader import ProbeResult
    from innervate_kinds.compute_pool.model import ComputePoolSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What the kubelet tells of one container.

    Parameters
    ----------
    name, image
        As in the pod's specification.
    ready
        Whether it is ready.
    running
        Whether it has started and runs.
    waiting
        Why it does not run (``ImagePullBackOff``), or empty.
    waiting_message
        The kubelet's words for it.
    ended
        How its last run ended (``OOMKilled``, ``Error``), or empty where there was none.
    ended_message
        The end of that run's log.
    exit_code
        That run's exit code.
    """

    name: str
    image: str
    ready: bool
    running: bool = False
    waiting: str = ""
    waiting_message: str = ""
    ended: str = ""
    ended_message: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodState:
    """One pod that is not being deleted.

    Parameters
    ----------
    name
        Its name.
    ready
        Whether all its containers are ready.
    created
        When it was created.
    unschedulable
        The scheduler's words, or empty.
    unschedulable_since
        Since when the scheduler says so.
    containers
        Its containers, sidecars included.
    """

    name: str
    ready: bool
    created: datetime
    unschedulable: str = ""
    unschedulable_since: datetime | None = None
    containers: tuple[ContainerState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A Deployment or StatefulSet.

    Parameters
    ----------
    current
        Whether its controller has seen the latest specification.
    wanted, updated, available
        Replicas: declared, of the latest specification, and taking requests.
    old
        Replicas of earlier specifications that still run.
    refused
        Why pods could not be created (a quota, an admission policy), or empty.
    pods
        Its pods.
    """

    current: bool
    wanted: int
    updated: int
    available: int
    old: int = 0
    refused: str = ""
    pods: tuple[PodState, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all wanted replicas are of the latest specification and available."""
        return (
            self.current and self.old == 0 and self.updated >= self.wanted and self.available >= self.wanted
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The PersistentVolumeClaim of the store's name.

    Parameters
    ----------
    owner_uid
        UID of the resource that made it, by its label.
    owned
        Whether the garbage collector will remove it with an owner.
    deleting
        Whether it is being deleted.
    phase
        ``Pending``, ``Bound`` or ``Lost``.
    """

    owner_uid: str
    owned: bool
    deleting: bool
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The ComputePool that the placement names, which exists.

    Parameters
    ----------
    spec
        Its specification.
    allowed
        Whether it allows workloads of the store's namespace.
    ready_nodes
        Ready nodes by its status; None before its first status.
    """

    spec: ComputePoolSpec
    allowed: bool
    ready_nodes: int | None


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
