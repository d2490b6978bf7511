"""The operator may do what its rooms need, as generated from them, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from innervate_kinds.crdgen.rbac import rules
from innervate_kinds.memory_store.names import Names
from innervate_kinds.registry import ROOMS
from innervate_operator.settings import Settings

PLANS = Path(__file__).parents[2] / "golden/kinds/output"
NAMESPACED = {"watchNamespaces": ["shop", "lab"]}
ALWAYS = [
    {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
    {"nonResourceURLs": ["/.well-known/openid-configuration", "/openid/v1/jwks"], "verbs": ["get"]},
]
DEFINITIONS = {
    "apiGroups": ["apiextensions.k8s.io"],
    "resources": ["customresourcedefinitions"],
    "verbs": ["get", "list", "watch"],
}
EVENTS = {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}


def roles(manifests, kind="ClusterRole", *, aggregated=False):
    return {
        (each["metadata"].get("namespace"), each["metadata"]["name"]): each["rules"]
        for each in manifests
        if each["kind"] == kind
        and any("aggregate-to" in label for label in each["metadata"]["labels"]) == aggregated
    }


def test_for_the_whole_cluster_the_generated_rules_are_granted(render):
    generated = rules(ROOMS)
    assert roles(render()) == {
        (None, "innervate-system:innervate-operator"): [
            *ALWAYS,
            DEFINITIONS,
            *generated["clusterRules"],
            *generated["namespacedRules"],
            EVENTS,
        ]
    }


def test_for_namespaces_the_generated_rules_are_granted_there_only(render):
    manifests = render(NAMESPACED)
    assert roles(manifests) == {(None, "innervate-system:innervate-operator"): ALWAYS}
    granted = roles(manifests, "Role")
    for namespace in NAMESPACED["watchNamespaces"]:
        assert granted[namespace, "innervate-operator-resources"] == [
            *rules(ROOMS)["namespacedRules"],
            EVENTS,
        ]


@pytest.mark.parametrize("values", [{}, NAMESPACED], ids=["cluster", "namespaced"])
def test_one_secret_and_one_lease_are_readable(render, values):
    settings = Settings()
    readable = []
    for (namespace, _), granted in {
        **roles(render(values), "Role"),
        **roles(render(values), "ClusterRole"),
    }.items():
        for rule in granted:
            named = {"secrets", "leases", "*"} & set(rule.get("resources", ()))
            if named and set(rule["verbs"]) - {"create"}:
                readable.append((namespace, named.pop(), rule.get("resourceNames")))
    assert sorted(readable) == [
        ("innervate-system", "leases", [settings.lease_name]),
        ("innervate-system", "secrets", [settings.ca_secret]),
    ]


def test_the_operator_holds_what_the_roles_that_it_makes_grant():
    # The API server lets nobody grant more than they hold.
    held = {
        (group, resource, verb)
        for rule in rules(ROOMS)["namespacedRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    cases = [yaml.safe_load(file.read_text().replace("!generated ", "")) for file in PLANS.rglob("*.yaml")]
    made = [
        child["manifest"]
        for case in cases
        for child in case.get("plan", {}).get("apply", ())
        if child["manifest"]["kind"] == "Role"
    ]
    assert made
    granted = {
        (group, resource, verb)
        for role in made
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted <= held


@pytest.mark.parametrize("values", [{}, NAMESPACED, {"serviceAccount": {"name": "nerve"}}])
def test_every_role_is_bound_to_the_operator_alone(render, values):
    manifests = render(values)
    account = values.get("serviceAccount", {}).get("name", "innervate-operator")
    bound = {
        (each["kind"], each["metadata"].get("namespace"), each["roleRef"]["name"]): each["subjects"]
        for each in manifests
        if each["kind"].endswith("RoleBinding") or each["kind"] == "RoleBinding"
    }
    test = bound.pop(
        ("RoleBinding", values.get("watchNamespaces", ["innervate-system"])[0], "innervate-test")
    )
    assert test == [{"kind": "ServiceAccount", "name": "innervate-test", "namespace": "innervate-system"}]
    expected = {("RoleBinding", *key) for key in roles(manifests, "Role") if key[1] != "innervate-test"}
    expected |= {("ClusterRoleBinding", *key) for key in roles(manifests)}
    assert bound.keys() == expected
    operator = {"kind": "ServiceAccount", "name": account, "namespace": "innervate-system"}
    assert all(subjects == [operator] for subjects in bound.values())


def test_no_rule_has_a_wildcard(render):
    for manifest in render() + render(NAMESPACED):
        if manifest["kind"] in {"Role", "ClusterRole"}:
            for rule in manifest["rules"]:
                assert not any("*" in values for values in rule.values()), manifest["metadata"]["name"]


def test_kinds_join_the_clusters_own_roles(render):
    aggregated = roles(render(), aggregated=True)
    assert aggregated == {
        (None, "innervate-view"): [
            {
                "apiGroups": ["innervate.dev"],
                "resources": sorted(room.kind.plural for room in ROOMS),
                "verbs": ["get", "list", "watch"],
            }
        ],
        (None, "innervate-edit"): [
            {
                "apiGroups": ["innervate.dev"],
                "resources": sorted(room.kind.plural for room in ROOMS if room.kind.namespaced),
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
            }
        ],
    }
    assert not roles(render({"rbac": {"aggregate": False}}), aggregated=True)


def test_the_test_reads_the_one_configmap_it_needs(render):
    granted = roles(render(), "Role")["innervate-system", "innervate-test"]
    assert granted[-1] == {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [Names.of("innervate-test").trust],
        "verbs": ["get"],
    }


def test_the_packaged_rules_are_the_generated_ones(chart):
    packaged = yaml.safe_load((chart / "files" / "rbac.yaml").read_text())
    assert packaged == rules(ROOMS)
