"""Why a condition of a pool is as it is."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a condition of an InferencePool is as it is."""

    VALID = "Valid"
    """The specification is accepted."""
    RESOLVED = "Resolved"
    """Everything that the specification names is there and may be used."""
    COMPUTE_POOL_NOT_FOUND = "ComputePoolNotFound"
    """A ComputePool named in a placement does not exist."""
    COMPUTE_POOL_NOT_ALLOWED = "ComputePoolNotAllowed"
    """A ComputePool does not allow workloads of this namespace."""
    RELEASE_NOT_FOUND = "ReleaseNotFound"
    """A ModelRelease named in `spec.model` or `spec.traffic` does not exist."""
    RELEASE_NOT_VERIFIED = "ReleaseNotVerified"
    """A ModelRelease is not verified, or not yet; no engine is started for it."""
    RELEASE_REFUSED = "ReleaseRefused"
    """An engine cannot fetch its release; the message holds the words of what fetches."""
    KEYS_MISSING = "KeysMissing"
    """The ConfigMap `innervate-release-keys` does not exist."""
    STARTING = "Starting"
    """Created and not ready yet; nothing wrong is known."""
    ROLLING_OUT = "RollingOut"
    """A change of the specification is being brought to the pods."""
    ROUTES_PENDING = "RoutesPending"
    """A gateway does not serve the latest change yet; the message holds what it waits for."""
    ENGINES_LEAVING = "EnginesLeaving"
    """Engines of releases that no gateway names any more are ended."""
    AVAILABLE = "Available"
    """It takes requests."""
    NOT_READY = "NotReady"
    """It does not take requests, and nothing tells why."""
    NO_READY_NODES = "NoReadyNodes"
    """The ComputePool that a variant is placed on has no ready node."""
    UNSCHEDULABLE = "Unschedulable"
    """The scheduler finds no node for a pod; the message holds its words."""
    IMAGE_NOT_PULLED = "ImageNotPulled"
    """An image cannot be pulled."""
    SECRET_MISSING = "SecretMissing"  # noqa: S105  a reason, not a password
    """A Secret, or a key in it, that a pod needs does not exist."""
    DISK_FULL = "DiskFull"
    """The volume of Redis has no space left."""
    MEMORY_EXCEEDED = "MemoryExceeded"
    """A container used more memory than its limit and was killed."""
    CRASHING = "Crashing"
    """A container ends again and again; the message holds its last words."""
    PODS_REFUSED = "PodsRefused"
    """The cluster refuses to create pods: a quota or an admission policy."""
    UNREACHABLE = "Unreachable"
    """Gateway pods are ready, but the operator gets no answer from them."""
    RETAINED_DATA = "RetainedData"
    """An earlier pool of this name left its volume; adopt it, or delete it."""
    PREVIOUS_DATA_LEAVING = "PreviousDataLeaving"
    """An earlier pool's volume is being deleted; this one waits for it."""
    VOLUME_NOT_EXPANDABLE = "VolumeNotExpandable"
    """The storage class does not let the volume grow; the pool works on with the one it has."""
    NOT_OWNED = "NotOwned"
    """Something of somebody else has the name of a child."""
    CHILD_REFUSED = "ChildRefused"
    """The API server refuses a child for good; the message holds its words."""
    CHILD_DELAYED = "ChildDelayed"
    """A child could not be applied now; it is tried again."""


STALLING = {
    Reason.RETAINED_DATA,
    Reason.NOT_OWNED,
    Reason.CHILD_REFUSED,
    Reason.COMPUTE_POOL_NOT_ALLOWED,
    Reason.COMPUTE_POOL_NOT_FOUND,
    Reason.RELEASE_NOT_FOUND,
}
"""Reasons that pass only by somebody's action."""
