"""Stores: newer wins, deletions are believed, a list replaces everything in one step."""

from __future__ import annotations

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, DEPLOYMENT, NODE, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.room import Scope
from innervate_operator.cache import Caches, Store, decode


def manifest(name, version, *, uid=None, owner=None, namespace="shop", **content):
    metadata = {"name": name, "namespace": namespace, "uid": uid or name, "resourceVersion": str(version)}
    if owner:
        metadata["labels"] = {OWNER_UID: owner}
    return {"metadata": metadata, **content}


@pytest.fixture
def store(clock):
    return Store(CONFIG_MAP, clock.monotonic)


def test_an_older_event_does_not_replace_what_is_newer(store):
    assert store.put(manifest("a", 5, data={"x": "new"}))
    assert store.put(manifest("a", 4, data={"x": "old"})) is None
    assert store.put(manifest("a", 5, data={"x": "same"})) is None
    assert decode(store.entry(("shop", "a")))["data"] == {"x": "new"}


def test_an_apply_response_enters_the_cache_when_newer_and_its_echo_wakes_nobody(store):
    store.put(manifest("a", 5))
    store.put_response(manifest("a", 7, data={"x": "1"}))
    assert store.put(manifest("a", 7, data={"x": "1"})) is None
    store.put_response(manifest("a", 6, data={"x": "late"}))
    assert decode(store.entry(("shop", "a")))["data"] == {"x": "1"}


def test_a_late_apply_response_does_not_bring_back_what_was_deleted_since(store):
    store.put(manifest("a", 5))
    store.remove(manifest("a", 9))
    store.progressed("9")
    store.put_response(manifest("a", 8))
    assert store.entry(("shop", "a")) is None
    store.put_response(manifest("b", 10))
    assert store.entry(("shop", "b")) is not None


def test_a_late_deletion_does_not_drop_the_successor(store):
    store.put_response(manifest("a", 9, uid="second"))
    assert store.remove(manifest("a", 8, uid="first")) is None
    assert store.key_of("second") == ("shop", "a")


def test_a_relist_swaps_atomically_and_tells_what_changed(store):
    for name in ("gone", "same", "changed"):
        store.put(manifest(name, 5, owner=f"of-{name}"))
    store.put_response(manifest("just-made", 25, owner="of-just-made"))
    listed = [
        store.compact(manifest("same", 5, owner="of-same")),
        store.compact(manifest("changed", 9, owner="of-new")),
    ]
    changes = store.swap(listed, version="20")
    assert sorted(change.name for change in changes) == ["changed", "gone"]
    assert {owner for change in changes for owner in change.owners} == {"of-gone", "of-changed", "of-new"}
    assert sorted(name for _, name in store.keys(namespace="shop")) == ["changed", "just-made", "same"]
    assert store.keys(owner="of-changed") == []


def test_a_relist_of_one_namespace_leaves_the_others(store):
    store.put(manifest("a", 5))
    store.put(manifest("a", 6, namespace="other", uid="other"))
    store.swap([], version="20", namespace="shop")
    assert store.keys() == [("other", "a")]


def test_managed_fields_are_reduced_to_who_scales(clock):
    store = Store(DEPLOYMENT, clock.monotonic)
    made = manifest("a", 5)
    made["metadata"]["managedFields"] = [
        {"manager": "innervate", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        {
            "manager": "kube-controller-manager",
            "subresource": "scale",
            "fieldsV1": {"f:spec": {"f:replicas": {}}},
        },
        {"manager": "other", "subresource": "status", "fieldsV1": {"f:status": {}}},
    ]
    made["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{…}", "x": "y"}
    store.put(made)
    metadata = decode(store.entry(("shop", "a")))["metadata"]
    assert metadata["managedFields"] == [{"manager": "kube-controller-manager", "subresource": "scale"}]
    assert metadata["annotations"] == {"x": "y"}


def test_readers_cannot_harm_the_cache(store):
    caches = Caches({}, {(CONFIG_MAP, Scope.OWNED): store})
    store.put(manifest("a", 5, owner="o", data={"x": "1"}))
    caches.owned(CONFIG_MAP, "o")[0]["data"]["x"] = "2"
    assert caches.get(Reference(CONFIG_MAP, "shop", "a"))["data"] == {"x": "1"}


def test_the_reader_finds_by_owner_by_namespace_and_by_the_widest_scope(clock):
    owned, all_ = Store(CONFIG_MAP, clock.monotonic), Store(CONFIG_MAP, clock.monotonic)
    caches = Caches({}, {(CONFIG_MAP, Scope.OWNED): owned, (CONFIG_MAP, Scope.METADATA): all_})
    owned.put(manifest("mine", 5, owner="o", data={"x": "1"}))
    for name, namespace in (("mine", "shop"), ("theirs", "shop"), ("far", "other")):
        all_.put(manifest(name, 5, namespace=namespace, uid=name))
    assert caches.get(Reference(CONFIG_MAP, "shop", "mine"))["data"] == {"x": "1"}
    assert caches.get(Reference(CONFIG_MAP, "shop", "theirs"))["metadata"]["uid"] == "theirs"
    assert [each["metadata"]["name"] for each in caches.owned(CONFIG_MAP, "o")] == ["mine"]
    assert [each["metadata"]["name"] for each in caches.list(CONFIG_MAP, "shop")] == ["mine", "theirs"]
    assert len(caches.list(CONFIG_MAP)) == 3
    assert caches.child(Reference(CONFIG_MAP, "shop", "theirs")) is None
    assert caches.available(CONFIG_MAP)
    owned.available = False
    assert not caches.available(CONFIG_MAP)
    assert not caches.available(NODE)
    assert caches.list(NODE) == ()
    assert caches.get(Reference(NODE, None, "n")) is None
