"""Why a condition of an environment is as it is."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reasons of an environment's conditions."""

    VALID = "Valid"
    """The specification is accepted."""
    RESOLVED = "Resolved"
    """Everything that the specification names is there and may be used."""
    DATASET_NOT_FOUND = "DatasetNotFound"
    """The ConfigMap or PersistentVolumeClaim with the tasks does not exist."""
    COMPUTE_POOL_NOT_FOUND = "ComputePoolNotFound"
    """The ComputePool named in `spec.placement` does not exist."""
    COMPUTE_POOL_NOT_ALLOWED = "ComputePoolNotAllowed"
    """The ComputePool does not allow workloads of this namespace."""
    STARTING = "Starting"
    """Created and not ready yet; nothing wrong is known."""
    ROLLING_OUT = "RollingOut"
    """A change of the specification is being brought to the pods."""
    AVAILABLE = "Available"
    """It takes callers."""
    IN_TRAINER = "InTrainer"
    """It runs inside the trainer: there is nothing to start."""
    NOT_READY = "NotReady"
    """It takes no callers, and nothing tells why."""
    NO_READY_NODES = "NoReadyNodes"
    """The ComputePool that the pods are placed on has no ready node."""
    UNSCHEDULABLE = "Unschedulable"
    """The scheduler finds no node for a pod; the message holds its words."""
    IMAGE_NOT_PULLED = "ImageNotPulled"
    """An image cannot be pulled."""
    SOURCE_REFUSED = "SourceRefused"
    """The server cannot serve what `spec.source` and `spec.rewards` say: an id or an option that is not
    known, a line of the tasks that is not as it must be; the message holds its words."""
    MEMORY_EXCEEDED = "MemoryExceeded"
    """A container used more memory than its limit and was killed."""
    CRASHING = "Crashing"
    """A container ends again and again; the message holds its last words."""
    PODS_REFUSED = "PodsRefused"
    """The cluster refuses to create pods: a quota or an admission policy."""
    UNREACHABLE = "Unreachable"
    """The pods are ready, but the operator gets no answer from them."""
    CHAINS_DIFFER = "ChainsDiffer"
    """Pods serve environments that are not the same, so that no episode could be told from another."""
    NOT_OWNED = "NotOwned"
    """Something of somebody else has the name of a child."""
    CHILD_REFUSED = "ChildRefused"
    """The API server refuses a child for good; the message holds its words."""
    CHILD_DELAYED = "ChildDelayed"
    """A child could not be applied now; it is tried again."""


STALLING = frozenset(
    {
        Reason.NOT_OWNED,
        Reason.CHILD_REFUSED,
        Reason.COMPUTE_POOL_NOT_ALLOWED,
        Reason.COMPUTE_POOL_NOT_FOUND,
        Reason.DATASET_NOT_FOUND,
        Reason.SOURCE_REFUSED,
    }
)
"""Reasons that pass only by somebody's action."""
