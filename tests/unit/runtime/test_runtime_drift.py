"""Whether live is what we want: defaults and foreign fields do not matter, ours do."""

from __future__ import annotations

import copy

import pytest
from innervate_operator.drift import differences, digest, holds

WANTED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "m", "labels": {"a": "b"}, "annotations": {"x": "y"}},
    "spec": {
        "replicas": 2,
        "paused": False,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "i:1",
                        "env": [{"name": "A", "value": "1"}],
                        "resources": {"requests": {"cpu": 1, "memory": "1024Mi"}},
                        "ports": [{"containerPort": 1}],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}}],
                "tolerations": [],
            }
        },
    },
}


@pytest.fixture
def live():
    made = copy.deepcopy(WANTED)
    made["metadata"] |= {"uid": "u", "resourceVersion": "7", "generation": 1}
    made["metadata"]["labels"]["theirs"] = "z"
    pod = made["spec"]["template"]["spec"]
    pod["restartPolicy"] = "Always"
    del pod["tolerations"]
    del made["spec"]["paused"]
    pod["containers"][0]["resources"]["requests"] = {"cpu": "1", "memory": "1Gi"}
    pod["containers"][0]["ports"][0]["protocol"] = "TCP"
    pod["volumes"][0]["emptyDir"]["sizeLimit"] = "1Gi"
    made["status"] = {"replicas": 2}
    return made


def test_defaults_foreign_fields_and_other_spellings_of_quantities_are_no_drift(live):
    assert differences(WANTED, live) == []


def test_what_go_leaves_out_because_it_is_empty_is_no_drift(live):
    wanted = copy.deepcopy(WANTED)
    wanted["spec"]["template"]["spec"] |= {"hostNetwork": False, "hostname": "", "nodeSelector": {}}
    assert differences(wanted, live) == []


def test_items_that_others_added_to_a_keyed_list_are_theirs(live):
    pod = live["spec"]["template"]["spec"]
    pod["containers"].insert(0, {"name": "sidecar", "image": "mesh"})
    pod["containers"][1]["env"].append({"name": "B", "value": "2"})
    assert differences(WANTED, live) == []


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (("spec", "replicas"), 3, "spec.replicas"),
        (("metadata", "labels", "a"), "c", "metadata.labels.a"),
        (("spec", "paused"), True, "spec.paused"),
        (("spec", "template", "spec", "containers", 0, "image"), "i:2", "containers[main].image"),
        (("spec", "template", "spec", "containers", 0, "env", 0, "value"), "2", "env[A].value"),
        (
            ("spec", "template", "spec", "containers", 0, "resources", "requests", "memory"),
            "2Gi",
            "requests.memory",
        ),
        (("spec", "template", "spec", "containers"), [], "containers[main]"),
        (("spec", "template", "spec", "tolerations"), [{"operator": "Exists"}], "tolerations"),
        (("metadata", "annotations"), None, "metadata.annotations"),
    ],
)
def test_our_fields_with_other_values_are_drift(live, path, value, found):
    *parents, last = path
    target = live
    for step in parents:
        target = target[step]
    target[last] = value
    (difference,) = differences(WANTED, live)
    assert difference.endswith(found)


def test_text_that_looks_like_a_quantity_is_compared_as_text():
    wanted = {"metadata": {}, "data": {"version": "1.10"}}
    assert differences(wanted, {"metadata": {}, "data": {"version": "1.1"}}) == ["data.version"]


def test_the_digest_depends_on_content_and_not_on_order():
    shuffled = dict(reversed(WANTED.items()))
    assert digest(shuffled) == digest(WANTED)
    assert digest({**WANTED, "spec": {"replicas": 3}}) != digest(WANTED)


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"list": [{"name": "x", "role": "Stable"}]}, {"list": [{"name": "x"}]}, True),
        ({"list": [{"name": "x"}, {"name": "y"}]}, {"list": [{"name": "x"}]}, False),
        ({"list": [{"name": "y"}, {"name": "x"}]}, {"list": [{"name": "x"}, {"name": "y"}]}, False),
        ({}, {"list": []}, True),
        ({}, {"list": [1]}, False),
        ({"metadata": {"uid": "1", "name": "n"}}, {"metadata": {"uid": "2", "name": "n"}}, True),
        ("text", {"a": 1}, False),
    ],
)
def test_a_patch_is_there_where_its_fields_and_whole_lists_are(live, wanted, expected):
    assert holds(live, wanted) is expected
