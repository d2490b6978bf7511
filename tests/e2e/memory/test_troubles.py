"""What goes wrong is said plainly, where the user looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from innervate_local.errors import LocalError

from tests.e2e.lab import store

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"storage": {"redis": {"size": "-1Gi"}}}, ["size"]),
        (
            {"storage": {"redis": {}, "external": {"urlFrom": {"secretKeyRef": {"name": "x", "key": "u"}}}}},
            ["exactly one"],
        ),
        ({"service": {"replicas": 0}}, ["replicas", "greater than or equal to 1"]),
        ({"retention": {"defaultTTLSecond": 5}}, ["defaultTTLSecond"]),
        ({"access": [{"serviceAccounts": [{"name": "Änne"}], "spaces": ["a"]}]}, ["name"]),
    ],
    ids=["negative-size", "two-storages", "no-replicas", "unknown-field", "unicode-account"],
)
def test_wrong_input_is_refused_at_admission(
    lab: Lab, shop: str, spec: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(LocalError) as refused:
        lab.apply(store("wrong", shop, **spec))
    for word in words:
        assert word in str(refused.value)


def test_a_missing_secret_is_named(lab: Lab, shop: str) -> None:
    source = {"secretKeyRef": {"name": "nowhere", "key": "url"}}
    lab.apply(store("outside", shop, storage={"external": {"urlFrom": source}}))
    assert "nowhere" in lab.told("outside", shop, "SecretMissing")
    lab.kubectl("delete", "memorystore", "outside", "-n", shop)


def test_a_pool_that_is_not_there_is_named(lab: Lab, shop: str) -> None:
    placement = {"computePoolRef": {"name": "no-such-pool"}}
    lab.apply(store("placed", shop, service={"placement": placement}))
    assert "no-such-pool" in lab.told("placed", shop, "ComputePoolNotFound", type_="ResolvedRefs")
    lab.kubectl("delete", "memorystore", "placed", "-n", shop)


def test_a_pod_that_fits_no_node_is_told(lab: Lab, shop: str) -> None:
    resources = {"requests": {"cpu": "500", "memory": "256Mi"}, "limits": {"cpu": "500", "memory": "1Gi"}}
    lab.apply(store("huge", shop, service={"replicas": 1, "resources": resources}))
    assert "cpu" in lab.told("huge", shop, "Unschedulable").lower()
    lab.kubectl("delete", "memorystore", "huge", "-n", shop)


def test_a_child_of_somebody_else_is_left_alone(lab: Lab, shop: str) -> None:
    mine = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken-memorystore", "namespace": shop},
        "spec": {"ports": [{"port": 1234}], "selector": {"app": "mine"}},
    }
    lab.apply(mine)
    lab.apply(store("taken", shop))
    assert "taken-memorystore" in lab.told("taken", shop, "NotOwned")
    assert lab.read("service", "taken-memorystore", shop)["spec"]["ports"][0]["port"] == 1234
    lab.kubectl("delete", "memorystore", "taken", "-n", shop)
    lab.kubectl("delete", "service", "taken-memorystore", "-n", shop)


def test_the_longest_name_works(lab: Lab, shop: str) -> None:
    name = "n" * 253
    lab.apply(store(name, shop, reclaimPolicy="Delete", service={"replicas": 1}))
    lab.ready("memorystore", name, shop)
    with lab.memory(name, shop) as memory:
        memory.put("A long name changes nothing.")
        assert len(memory.search("long name")) == 1
    lab.kubectl("delete", "memorystore", name, "-n", shop)
