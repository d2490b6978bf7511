"""What is sent: label, owner, digest; no replicas where an autoscaler decides; drawn secrets."""

from __future__ import annotations

import base64

from innervate_kinds.api.kind import CONFIG_MAP, DEPLOYMENT, SECRET
from innervate_kinds.api.names import DESIRED_HASH, OWNER_UID
from innervate_kinds.api.plan import Child, Generated
from innervate_operator.dress import ENSURED, drawn, dress
from innervate_operator.ownership import Owner

OWNER = Owner("innervate.dev/v1alpha1", "Gadget", "shop", "g", "uid-1")
METADATA = {"name": "c", "namespace": "shop"}


def deployment(**changes):
    manifest = {"metadata": METADATA, "spec": {"replicas": 2, "paused": True}}
    return Child(DEPLOYMENT, manifest, **changes)


def live(*managers):
    managed = [{"manager": manager, "subresource": "scale"} for manager in managers]
    return {"metadata": {**METADATA, "managedFields": managed}}


def test_a_child_carries_label_owner_and_digest_and_the_plan_stays_as_it_was():
    child = Child(CONFIG_MAP, {"metadata": METADATA, "data": {"a": "b"}})
    worn = dress(child, OWNER, live=None, ensured="e")["metadata"]
    assert worn["labels"] == {OWNER_UID: "uid-1"}
    assert worn["ownerReferences"] == [OWNER.reference()]
    assert worn["annotations"][ENSURED] == "e"
    assert worn["annotations"][DESIRED_HASH]
    assert child.manifest["metadata"] == {"name": "c", "namespace": "shop"}


def test_what_must_outlive_its_owner_has_the_label_but_no_owner_reference():
    worn = dress(Child(CONFIG_MAP, {"metadata": METADATA}, owned=False), OWNER, live=None)["metadata"]
    assert worn["labels"] == {OWNER_UID: "uid-1"}
    assert "ownerReferences" not in worn


def test_replicas_are_left_out_once_an_autoscaler_owns_them():
    child = deployment(scaled=True)
    assert dress(child, OWNER, live=None)["spec"]["replicas"] == 2
    assert dress(child, OWNER, live=live("kubectl"))["spec"]["replicas"] == 2
    assert dress(child, OWNER, live=live("kube-controller-manager"))["spec"] == {"paused": True}
    assert dress(deployment(), OWNER, live=live("kube-controller-manager"))["spec"]["replicas"] == 2


def test_the_same_wish_has_the_same_digest():
    hashes = [dress(deployment(), OWNER, live=None)["metadata"]["annotations"][DESIRED_HASH] for _ in "12"]
    assert hashes[0] == hashes[1]


def test_generated_values_are_drawn_anew_each_time_and_encoded_where_kubernetes_wants_it():
    manifest = {
        "metadata": METADATA,
        "stringData": {"password": Generated(), "user": "u", "list": [Generated(8)]},
        "data": {"password": Generated(20)},
    }
    first, second = (drawn(Child(SECRET, manifest), OWNER) for _ in "12")
    assert len(first["stringData"]["password"]) == 43
    assert len(first["stringData"]["list"][0]) == 8
    assert first["stringData"]["user"] == "u"
    assert len(base64.b64decode(first["data"]["password"])) == 20
    assert first["stringData"]["password"] != second["stringData"]["password"]
    assert first["metadata"]["ownerReferences"] == [OWNER.reference()]
    assert isinstance(manifest["stringData"]["password"], Generated)
