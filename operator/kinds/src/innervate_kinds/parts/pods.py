"""What the kubelet and the controllers tell of pods and of what runs them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import POD, Kind, Reference
from innervate_kinds.api.names import OWNER_UID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.reader import Reader
    from innervate_kinds.api.resource import ObjectMeta


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
        What that run left as its termination message: its own words, or the end of its log.
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
    address
        Its IP address; empty before it has one.
    phase
        ``Pending``, ``Running``, ``Succeeded``, ``Failed`` or ``Unknown``.
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
    address: str = ""
    phase: str = "Unknown"
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


def mine(reader: Reader, owner: ObjectMeta, kind: Kind, name: str) -> Mapping[str, Any] | None:
    """Child of that kind and name, if it is there and the owner's."""
    child = reader.get(Reference(kind, owner.namespace, name))
    own = child and (child["metadata"].get("labels") or {}).get(OWNER_UID) == owner.uid
    return child if own else None


def owned(reader: Reader, owner: ObjectMeta, kind: Kind = POD) -> list[Mapping[str, Any]]:
    """Objects of a kind, pods where none is said, that carry the owner's label in its own namespace.

    The label alone proves nothing: whoever may create pods elsewhere can write the same one there.
    """
    return [
        item
        for item in reader.owned(kind, owner.uid)
        if item["metadata"].get("namespace", "") == owner.namespace
    ]


def workload(
    found: Mapping[str, Any] | None, pods: Sequence[Mapping[str, Any]], component: str
) -> Workload | None:
    """What a Deployment or StatefulSet and its pods tell; None where it is not there.

    Parameters
    ----------
    found
        As cached.
    pods
        Pods of its owner.
    component
        Which of these are its own, by label.
    """
    if found is None:
        return None
    status = found.get("status") or {}
    updated = status.get("updatedReplicas", 0)
    return Workload(
        current=status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0),
        wanted=found["spec"].get("replicas", 1),
        updated=updated,
        available=status.get("availableReplicas", 0),
        old=max(status.get("replicas", 0) - updated, 0),
        refused=next(
            (
                condition.get("message", "")
                for condition in status.get("conditions") or ()
                if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
            ),
            "",
        ),
        pods=of_component(pods, component),
    )


def of_component(pods: Sequence[Mapping[str, Any]], component: str) -> tuple[PodState, ...]:
    """Those pods of a component that are not being deleted, the oldest first."""
    own = [
        _pod(pod)
        for pod in pods
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == component
        and not pod["metadata"].get("deletionTimestamp")
    ]
    return tuple(sorted(own, key=lambda pod: (pod.created, pod.name)))


def _pod(pod: Mapping[str, Any]) -> PodState:
    status = pod.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    waits = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return PodState(
        name=pod["metadata"]["name"],
        ready=conditions.get("Ready", {}).get("status") == "True",
        created=time(pod["metadata"]["creationTimestamp"]),
        address=status.get("podIP", ""),
        phase=status.get("phase", "Unknown"),
        unschedulable=scheduled.get("message", "") if waits else "",
        unschedulable_since=time(scheduled["lastTransitionTime"]) if waits else None,
        containers=tuple(_container(state) for state in states),
    )


def _container(status: Mapping[str, Any]) -> ContainerState:
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    return ContainerState(
        name=status["name"],
        image=status.get("image", ""),
        ready=status.get("ready", False),
        running=bool(status.get("started")) and "running" in state,
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        ended=ended.get("reason", ""),
        ended_message=ended.get("message", ""),
        exit_code=ended.get("exitCode", 0),
    )


def time(value: str | datetime) -> datetime:
    """A time of the API, as decoded or as text."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
