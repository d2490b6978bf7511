"""Who is woken by what."""

from __future__ import annotations

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, NODE, Kind, Reference
from innervate_operator.cache import Caches, Change, Store
from innervate_operator.wake import Waker

GADGET = Kind("innervate.dev", "v1alpha1", "Gadget", "gadgets")
KEY = Reference(GADGET, "shop", "g")
OTHER = Reference(GADGET, "shop", "h")


@pytest.fixture
def woken():
    return []


@pytest.fixture
def waker(clock, woken):
    store = Store(GADGET, clock.monotonic)
    store.put({"metadata": {"name": "g", "namespace": "shop", "uid": "uid-g", "resourceVersion": "1"}})
    return Waker(Caches({GADGET: store}, {}), woken.append)


def test_a_child_wakes_its_owner_by_the_label(waker, woken):
    waker.changed(Change(CONFIG_MAP, "shop", "child", ("uid-g", "uid-unknown")))
    assert woken == [KEY]


def test_a_reference_wakes_who_refers_to_it_and_nobody_else(waker, woken):
    waker.refer(KEY, [Reference(CONFIG_MAP, "shop", "source")])
    waker.refer(OTHER, [Reference(CONFIG_MAP, "other", "source")])
    waker.changed(Change(CONFIG_MAP, "shop", "source", ()))
    waker.changed(Change(CONFIG_MAP, "shop", "another", ()))
    assert woken == [KEY]


def test_a_reference_without_a_name_stands_for_all_of_its_kind(waker, woken):
    waker.refer(KEY, [Reference(NODE, None, "")])
    waker.refer(OTHER, [Reference(CONFIG_MAP, "shop", "")])
    waker.changed(Change(NODE, "", "node-1", ()))
    waker.changed(Change(CONFIG_MAP, "shop", "any", ()))
    waker.changed(Change(CONFIG_MAP, "elsewhere", "any", ()))
    assert woken == [KEY, OTHER]


def test_references_are_replaced_and_dropped(waker, woken):
    waker.refer(KEY, [Reference(CONFIG_MAP, "shop", "a"), Reference(NODE, None, "")])
    waker.refer(KEY, [Reference(CONFIG_MAP, "shop", "b")])
    waker.changed(Change(CONFIG_MAP, "shop", "a", ()))
    waker.changed(Change(NODE, "", "n", ()))
    assert woken == []
    waker.refer(KEY, [])
    waker.changed(Change(CONFIG_MAP, "shop", "b", ()))
    assert woken == []


def test_a_resource_of_ours_wakes_itself_and_who_refers_to_it(waker, woken):
    waker.refer(OTHER, [KEY])
    waker.own_changed(Change(GADGET, "shop", "g", ()))
    assert woken == [KEY, OTHER]
