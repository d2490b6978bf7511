"""What holds for every plan, whatever the store: names, labels, no secrets, the same answer twice."""

from __future__ import annotations

import copy
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from innervate_kinds.api.kind import SECRET, SERVICE, STATEFUL_SET, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.plan import Generated
from innervate_kinds.memory_store import room
from innervate_kinds.memory_store.model import MemoryStore
from kinds_cluster import CONFIG, KINDS, Cluster

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Child, Plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    OWNER_UID,
}
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")

segments = st.text("abcxyz019-", min_size=1, max_size=61).map(lambda text: f"a{text}z")
names = st.lists(segments, min_size=1, max_size=4).map(".".join)
quantities = st.integers(16, 4096).map(lambda number: f"{number}Mi")
durabilities = st.sampled_from(["Always", "EverySecond"])
redis = st.fixed_dictionaries(
    {}, optional={"size": quantities, "memory": quantities, "durability": durabilities}
).map(lambda value: {"redis": value})
external = st.fixed_dictionaries(
    {
        "urlFrom": st.fixed_dictionaries(
            {"secretKeyRef": st.fixed_dictionaries({"name": names, "key": segments})}
        )
    },
    optional={"port": st.integers(1, 65535), "durability": durabilities},
).map(lambda value: {"external": value})
subjects = st.fixed_dictionaries({"name": names | st.just("*")}, optional={"namespace": segments})
rules = st.fixed_dictionaries(
    {
        "serviceAccounts": st.lists(subjects, min_size=1, max_size=3),
        "spaces": st.lists(segments | st.just("*"), min_size=1, max_size=3),
    },
    optional={"permissions": st.sampled_from([["Read"], ["Write"], ["Read", "Write"]])},
)
specs = st.fixed_dictionaries(
    {},
    optional={
        "reclaimPolicy": st.sampled_from(["Retain", "Delete"]),
        "storage": redis | external,
        "service": st.fixed_dictionaries({}, optional={"replicas": st.integers(1, 32)}),
        "retention": st.fixed_dictionaries({}, optional={"defaultTTLSeconds": st.integers(1, 10**9)}),
        "access": st.lists(rules, max_size=3),
    },
)


@st.composite
def stores(draw: st.DrawFn) -> MemoryStore:
    return MemoryStore.model_validate(
        {
            "apiVersion": "innervate.dev/v1alpha1",
            "kind": "MemoryStore",
            "metadata": {
                "name": draw(names),
                "namespace": draw(segments),
                "uid": str(draw(st.uuids())),
                "generation": draw(st.integers(1, 9)),
            },
            "spec": draw(specs),
        }
    )


def planned(store: MemoryStore, objects: list[dict[str, Any]] | None = None) -> Plan:
    observed = room.observe(store, Cluster(objects or []), {})
    return room.plan(store, observed, CONFIG, NOW)


def children(plan: Plan) -> list[Child]:
    return [*plan.ensure, *plan.apply]


@given(stores())
def test_the_same_store_gets_the_same_plan(store: MemoryStore) -> None:
    before = store.model_dump_json()
    first = copy.deepcopy(planned(store))
    assert planned(store) == first
    assert store.model_dump_json() == before


@given(stores())
def test_a_plan_that_was_applied_plans_the_same(store: MemoryStore) -> None:
    first = planned(store)
    assert planned(store, [child.manifest for child in children(first)]).apply == first.apply


@given(stores())
def test_names_are_unique_and_within_limits(store: MemoryStore) -> None:
    references = [Reference.of(child.kind, child.manifest) for child in children(planned(store))]
    assert len(set(references)) == len(references)
    for kind, namespace, name in references:
        assert namespace == store.metadata.namespace
        assert "memorystore" in name
        assert DNS_LABEL.fullmatch(name), name
        assert len(name) <= (52 if kind == STATEFUL_SET else 63)


@given(stores())
def test_every_child_and_pod_carries_the_labels(store: MemoryStore) -> None:
    for child in children(planned(store)):
        found = [child.manifest["metadata"]["labels"]]
        if "template" in child.manifest.get("spec", {}):
            found.append(child.manifest["spec"]["template"]["metadata"]["labels"])
        for labels in found:
            assert labels.keys() == LABELS
            assert labels[OWNER_UID] == store.metadata.uid
            assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())


@given(stores())
def test_selectors_find_the_pods_they_mean(store: MemoryStore) -> None:
    manifests = [child.manifest for child in planned(store).apply]
    templates = [
        manifest["spec"]["template"]["metadata"]["labels"]
        for manifest in manifests
        if "template" in manifest.get("spec", {})
    ]
    for child in planned(store).apply:
        spec = child.manifest.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector is None:
            continue
        wanted = selector if child.kind == SERVICE else selector["matchLabels"]
        assert sum(wanted.items() <= labels.items() for labels in templates) == 1


@given(stores())
def test_secrets_are_only_named(store: MemoryStore) -> None:
    plan = planned(store)
    assert all(child.kind != SECRET for child in plan.apply)
    for child in plan.ensure:
        assert child.kind == SECRET
        assert all(isinstance(value, Generated) for value in child.manifest["stringData"].values())


@given(stores())
def test_manifests_are_plain_json_of_known_kinds(store: MemoryStore) -> None:
    for child in planned(store).apply:
        assert json.loads(json.dumps(child.manifest)) == child.manifest
        assert KINDS[child.manifest["kind"]] == child.kind
        assert child.manifest["apiVersion"] == child.kind.api_version
        assert child.kind in room.ROOM.children


@given(stores())
def test_a_volume_outlives_its_store_unless_told_otherwise(store: MemoryStore) -> None:
    for child in planned(store).apply:
        kept = child.kind.kind == "PersistentVolumeClaim" and store.spec.reclaim_policy == "Retain"
        assert child.owned is not kept


@pytest.mark.parametrize("field", ["requests", "limits"])
@given(stores())
def test_every_container_has_requests_and_limits(field: str, store: MemoryStore) -> None:
    for child in planned(store).apply:
        pod = child.manifest.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", ()), *pod.get("containers", ())]:
            assert container["resources"][field].keys() == {"cpu", "memory"}
