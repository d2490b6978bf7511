"""The volume claim of a Redis: whose data it holds, and what to do where they are somebody else's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from innervate_kinds.api import conditions
from innervate_kinds.api.kind import PERSISTENT_VOLUME_CLAIM
from innervate_kinds.api.names import ADOPT, OWNER_UID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.plan import Failure
    from innervate_kinds.api.resource import Condition
    from innervate_kinds.parts.redis.part import Redis


class Reason(StrEnum):
    """Why a Redis cannot have its volume."""

    RETAINED_DATA = "RetainedData"
    PREVIOUS_DATA_LEAVING = "PreviousDataLeaving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The PersistentVolumeClaim of the name that the Redis gives its own.

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


def read(claim: Mapping[str, Any] | None) -> Claim | None:
    """Claim as the API server has it."""
    if claim is None:
        return None
    metadata = claim["metadata"]
    return Claim(
        owner_uid=(metadata.get("labels") or {}).get(OWNER_UID, ""),
        owned=bool(metadata.get("ownerReferences")),
        deleting=bool(metadata.get("deletionTimestamp")),
        phase=(claim.get("status") or {}).get("phase", "Pending"),
    )


def retained(redis: Redis, claim: Claim | None) -> bool:
    """Whether the claim holds an earlier resource's data, not to be adopted."""
    return (
        claim is not None
        and claim.owner_uid != redis.owner.uid
        and not claim.owned
        and not claim.deleting
        and not redis.adopts
    )


def leaving(redis: Redis, claim: Claim | None) -> bool:
    """Whether an earlier resource's claim is on its way out, so that ours must wait."""
    return claim is not None and claim.owner_uid != redis.owner.uid and (claim.owned or claim.deleting)


def resize_refused(failure: Failure) -> bool:
    """Whether a volume may not grow: its owner goes on with the volume it has."""
    return failure.reference.kind == PERSISTENT_VOLUME_CLAIM and "resize" in failure.message


def resize_message(redis: Redis) -> str:
    """What to do where the volume may not grow."""
    return (
        f"the volume cannot grow to {redis.field}.size: its storage class lacks "
        "allowVolumeExpansion; see `kubectl get storageclass`"
    )


def trouble(redis: Redis, claim: Claim | None, *, type_: str) -> Condition | None:
    """Condition for a claim that is not to be had; None where there is nothing wrong with it."""
    where = f"-n {redis.owner.namespace}"
    if retained(redis, claim):
        message = (
            f"PersistentVolumeClaim {redis.data!r} holds data of an earlier {redis.kind} of this name; "
            f"take it over: `kubectl annotate {where} {redis.resource} {redis.owner.name} {ADOPT}=true`, "
            f"or start empty: `kubectl delete {where} pvc {redis.data}`"
        )
        return conditions.false(type_, Reason.RETAINED_DATA, message)
    if leaving(redis, claim):
        message = (
            f"PersistentVolumeClaim {redis.data!r} of an earlier {redis.kind} is being deleted; "
            f"see `kubectl describe {where} pvc {redis.data}`"
        )
        return conditions.false(type_, Reason.PREVIOUS_DATA_LEAVING, message)
    return None
