"""Whose object is it? The rules by which we touch one, or leave it alone."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.names import OWNER_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Ownership(Enum):
    """What an object is to the resource that wants it."""

    ABSENT = "absent"
    OURS = "ours"
    ADOPTABLE = "adoptable"
    """Nobody's who lives, and the plan says it may be taken over."""
    TERMINATING = "terminating"
    """Of an earlier resource of our name: the garbage collector will take it."""
    LEAVING = "leaving"
    """Ours or adoptable, but being deleted."""
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Owner:
    """The resource that wants a child.

    Parameters
    ----------
    api_version, kind, namespace, name, uid
        As in its manifest.
    """

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    def reference(self) -> dict[str, Any]:
        """Controller owner reference for a child."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


def judge(
    live: Mapping[str, Any] | None, owner: Owner, *, adopt: bool, alive: Callable[[str], bool]
) -> Ownership:
    """Say what an object is to a resource.

    Parameters
    ----------
    live
        The object, metadata at least; None if there is none.
    owner
        The resource that wants it.
    adopt
        Whether the plan takes over what has no living owner.
    alive
        Whether a resource of ours with that UID exists.
    """
    if live is None:
        return Ownership.ABSENT
    metadata = live["metadata"]
    label = (metadata.get("labels") or {}).get(OWNER_UID, "")
    references = metadata.get("ownerReferences") or ()
    controller = next((each for each in references if each.get("controller")), None)
    if controller is not None and controller["uid"] != owner.uid:
        same_name = controller["kind"] == owner.kind and controller["name"] == owner.name
        # Names are unique among the living: who had ours under another UID is dead.
        return Ownership.TERMINATING if same_name and not alive(controller["uid"]) else Ownership.FOREIGN
    if label == owner.uid or controller is not None:
        return Ownership.LEAVING if "deletionTimestamp" in metadata else Ownership.OURS
    if adopt and not references and not (label and alive(label)):
        return Ownership.LEAVING if "deletionTimestamp" in metadata else Ownership.ADOPTABLE
    return Ownership.FOREIGN
