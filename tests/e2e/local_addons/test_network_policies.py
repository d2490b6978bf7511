"""Policies are enforced between pods of one node and of two, for what comes in and what goes out."""

import time

import pytest

pytestmark = pytest.mark.e2e

FRIENDS = ("friend-core", "friend-edge")
STRANGERS = ("stranger-core", "stranger-edge")
DNS = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"protocol": "UDP", "port": 53}],
}


def _policy(name, spec):
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def _reach(friends, strangers):
    return {
        **{(name, "server"): friends for name in FRIENDS},
        **{(name, "server"): strangers for name in STRANGERS},
    }


def test_only_selected_pods_come_in_until_the_policy_goes(pods):
    pods.settles(_reach(friends=True, strangers=True))
    allow = {
        "podSelector": {"matchLabels": {"app": "server"}},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"port": "web"}]}
        ],
    }
    pods.apply(_policy("allow-friends", allow))
    pods.settles(_reach(friends=True, strangers=False))
    pods.kubectl("delete", "networkpolicy", "allow-friends")
    pods.settles(_reach(friends=True, strangers=True))


def test_a_node_enforces_what_it_missed_while_it_was_cut_off(pods):
    edge = pods.cluster.edge
    server = {"podSelector": {"matchLabels": {"app": "friend"}}, "policyTypes": ["Egress"]}
    edge.cut()
    try:
        pods.apply(_policy("stay-in", server))
        pods.settles({("friend-core", "server"): False})
        time.sleep(15)  # longer than a silent connection is kept
    finally:
        edge.heal()
    pods.settles(_reach(friends=False, strangers=True))


def test_an_isolated_pod_still_answers_its_kubelet(pods):
    pods.apply(_policy("deny-all", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}))
    pods.settles(_reach(friends=False, strangers=False))
    time.sleep(5)  # longer than the three failed probes that would make it unready
    pods.kubectl("wait", "pod/server", "--for=condition=Ready", "--timeout=1s")


def test_what_goes_out_is_limited_to_what_is_allowed(pods):
    resolve = "import socket; print(socket.gethostbyname('kubernetes.default.svc'))"
    only_dns = {
        "podSelector": {"matchLabels": {"app": "friend"}},
        "policyTypes": ["Egress"],
        "egress": [DNS],
    }
    pods.apply(_policy("only-dns", only_dns))
    pods.settles(_reach(friends=False, strangers=True))
    assert {pods.run(name, resolve) for name in FRIENDS} == {
        pods.cluster.kubectl("get", "service", "kubernetes", "--output=jsonpath={.spec.clusterIP}")
    }


def test_a_connection_through_a_service_is_judged_by_the_pod_behind_it(pods):
    pods.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": "web"}]},
        },
        _policy(
            "to-server",
            {
                "podSelector": {"matchLabels": {"app": "friend"}},
                "policyTypes": ["Egress"],
                "egress": [
                    DNS,
                    {
                        "to": [{"podSelector": {"matchLabels": {"app": "server"}}}],
                        "ports": [{"port": 8000}],
                    },
                ],
            },
        ),
    )
    pods.settles({("friend-core", "stranger-core"): False})
    fetch = "import urllib.request as u; print(u.urlopen('http://web', timeout=5).status)"
    assert [pods.run(name, fetch) for name in FRIENDS] == ["200", "200"]
