"""Whose an object is."""

from __future__ import annotations

import pytest
from innervate_kinds.api.names import OWNER_UID
from innervate_operator.ownership import Owner, Ownership, judge

OWNER = Owner("innervate.dev/v1alpha1", "Gadget", "shop", "g", "uid-1")


def thing(*, label=None, owner=None, deleting=False, controller=True):
    metadata = {"name": "c", "namespace": "shop"}
    if label:
        metadata["labels"] = {OWNER_UID: label}
    if owner:
        metadata["ownerReferences"] = [
            {**OWNER.reference(), "controller": controller, **dict(zip(("name", "uid"), owner, strict=True))}
        ]
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    return {"metadata": metadata}


@pytest.mark.parametrize(
    ("live", "adopt", "living", "verdict"),
    [
        (None, False, (), Ownership.ABSENT),
        (thing(label="uid-1", owner=("g", "uid-1")), False, ("uid-1",), Ownership.OURS),
        (thing(label="uid-1"), False, ("uid-1",), Ownership.OURS),
        (thing(owner=("g", "uid-1")), False, ("uid-1",), Ownership.OURS),
        (thing(label="uid-1", deleting=True), False, ("uid-1",), Ownership.LEAVING),
        # Ours by name, dead by UID: the garbage collector is on its way.
        (thing(label="uid-0", owner=("g", "uid-0")), False, ("uid-1",), Ownership.TERMINATING),
        (thing(label="uid-0", owner=("g", "uid-0")), True, ("uid-1",), Ownership.TERMINATING),
        (thing(label="uid-2", owner=("h", "uid-2")), False, ("uid-2",), Ownership.FOREIGN),
        # A label alone does not make it ours while somebody else controls it.
        (thing(label="uid-1", owner=("h", "uid-2")), True, ("uid-2",), Ownership.FOREIGN),
        (thing(), False, (), Ownership.FOREIGN),
        (thing(), True, (), Ownership.ADOPTABLE),
        (thing(deleting=True), True, (), Ownership.LEAVING),
        (thing(label="uid-0"), False, ("uid-1",), Ownership.FOREIGN),
        (thing(label="uid-0"), True, ("uid-1",), Ownership.ADOPTABLE),
        # Retained by somebody who lives: not to be taken.
        (thing(label="uid-2"), True, ("uid-2",), Ownership.FOREIGN),
        (thing(owner=("h", "uid-2"), controller=False), True, (), Ownership.FOREIGN),
    ],
)
def test_an_object_is_judged_by_controller_label_and_who_lives(live, adopt, living, verdict):
    assert judge(live, OWNER, adopt=adopt, alive=lambda uid: uid in living) is verdict
