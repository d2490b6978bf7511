"""What the operator and the cluster's users may do once the chart is installed, asked of the API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("namespaces")]

OPERATOR = "system:serviceaccount:innervate-system:innervate-operator"
EVERYTHING_OF_A_STORE = [
    ("list", "memorystores.innervate.dev"),
    ("watch", "memorystores.innervate.dev"),
    ("patch", "memorystores.innervate.dev/status"),
    ("patch", "statefulsets.apps"),
    ("patch", "deployments.apps"),
    ("delete", "networkpolicies.networking.k8s.io"),
    ("create", "persistentvolumeclaims"),
    ("create", "secrets"),
    ("create", "events.events.k8s.io"),
    ("list", "pods"),
]
NOT_EVEN_SO = [
    ("get", "secrets"),
    ("list", "secrets"),
    ("watch", "secrets"),
    ("create", "pods"),
    ("create", "pods/exec"),
    # It makes Roles for gateways, but none that allows more than it may itself.
    ("bind", "roles.rbac.authorization.k8s.io"),
    ("escalate", "roles.rbac.authorization.k8s.io"),
    ("create", "clusterrolebindings.rbac.authorization.k8s.io"),
    ("create", "serviceaccounts/token"),
    ("delete", "memorystores.innervate.dev"),
]


@pytest.fixture
def may(cluster):
    def asked(verb, resource, namespace=None, *, user=OPERATOR, name=""):
        where = (f"--namespace={namespace}",) if namespace else ("--all-namespaces",)
        resource, _, part = resource.partition("/")
        what = [f"{resource}/{name}" if name else resource, f"--subresource={part}"]
        said = cluster.kubectl("auth", "can-i", verb, *what, f"--as={user}", *where, ok=False)
        return said.stdout.strip() == "yes"

    return asked


def test_operator_of_the_whole_cluster(cluster, may):
    cluster.install()
    assert [each for each in EVERYTHING_OF_A_STORE if not may(*each)] == []
    assert [each for each in NOT_EVEN_SO if may(*each, "elsewhere")] == []
    assert [each for each in NOT_EVEN_SO if may(*each, "innervate-system")] == []
    assert may("get", "secrets", "innervate-system", name="innervate-ca")
    assert may("update", "leases.coordination.k8s.io", "innervate-system", name="innervate-operator")
    assert not may("update", "leases.coordination.k8s.io", "kube-system", name="kube-scheduler")
    assert may("list", "nodes")


def test_operator_of_two_namespaces(cluster, may):
    cluster.install({"watchNamespaces": ["shop", "lab"]})
    for namespace in ("shop", "lab"):
        assert [each for each in EVERYTHING_OF_A_STORE if not may(*each, namespace)] == []
        assert [each for each in NOT_EVEN_SO if may(*each, namespace)] == []
    assert [each for each in EVERYTHING_OF_A_STORE if may(*each, "elsewhere")] == []
    assert not may("list", "nodes")
    assert not may("list", "computepools.innervate.dev")
    assert may("create", "tokenreviews.authentication.k8s.io")


def test_taking_a_namespace_away_takes_the_rights_away(cluster, may):
    cluster.install({"watchNamespaces": ["shop", "lab"]})
    cluster.install({"watchNamespaces": ["shop"]})
    assert may("list", "memorystores.innervate.dev", "shop")
    assert not may("list", "memorystores.innervate.dev", "lab")


@pytest.mark.parametrize(
    "values", [{}, {"watchNamespaces": ["lab"], "computePools": {"edge": {"class": "edge"}}}]
)
def test_the_api_server_takes_every_object_strictly_and_without_a_warning(cluster, chart, values, tmp_path):
    file = tmp_path / "matrix.json"
    file.write_text(json.dumps(values))
    for namespace in ("innervate-system", "lab"):
        label = "pod-security.kubernetes.io/warn=restricted"
        cluster.kubectl("label", "namespace", namespace, label, "--overwrite")
    rendered = cluster.helm("template", "innervate", str(chart), f"--values={file}", "--validate")
    applied = cluster.kubectl(
        "apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=rendered.stdout
    )
    assert "Warning" not in applied.stderr
    assert "deployment.apps/innervate-operator created" in applied.stdout


@pytest.fixture
def guard(cluster, chart, tmp_path):
    """Run what the pre-delete hook runs, with the operator's own rights."""

    def run(namespaces=""):
        account = tmp_path / "account"
        account.mkdir(exist_ok=True)
        token = cluster.kubectl("create", "token", "innervate-operator", "-n", "innervate-system").stdout
        (account / "token").write_text(token)
        (account / "ca.crt").write_bytes(cluster.plane.ca.read_bytes())
        host, port = cluster.plane.url.removeprefix("https://").split(":")
        return subprocess.run(
            [sys.executable, "-c", (chart / "files" / "refuse_uninstall.py").read_text()],
            env={
                **os.environ,
                "ACCOUNT": str(account),
                "NAMESPACES": namespaces,
                "KEEP": "helm rollback innervate 1 -n innervate-system",
                "KUBERNETES_SERVICE_HOST": host,
                "KUBERNETES_SERVICE_PORT": port,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def store(name, namespace, finalizers):
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "MemoryStore",
        "metadata": {"name": name, "namespace": namespace, "finalizers": finalizers},
        "spec": {},
    }


def test_uninstalling_is_refused_while_a_resource_holds_our_finalizer(cluster, guard):
    cluster.install()
    cluster.apply(store("free", "shop", []))
    cluster.apply(store("others", "shop", ["example.com/theirs"]))
    assert guard().returncode == 0, guard().stderr

    cluster.apply(store("held", "lab", ["innervate.dev/cleanup"]))
    refused = guard()
    assert refused.returncode == 1
    assert "MemoryStore lab/held" in refused.stderr
    assert "shop/" not in refused.stderr
    assert "innervate.dev/abandon" in refused.stderr
    assert "helm rollback innervate 1 -n innervate-system" in refused.stderr

    cluster.apply(store("held", "lab", []))
    cluster.apply(store("others", "shop", []))
    assert guard().returncode == 0


def test_the_guard_of_a_namespaced_operator_looks_where_it_may(cluster, guard):
    cluster.install({"watchNamespaces": ["shop", "lab"]})
    cluster.apply(store("held", "lab", ["innervate.dev/cleanup"]))
    refused = guard("shop,lab")
    assert refused.returncode == 1
    assert "MemoryStore lab/held" in refused.stderr
    cluster.apply(store("held", "lab", []))
    assert guard("shop,lab").returncode == 0


def test_users_of_the_clusters_own_roles(cluster, may):
    # Aggregation is done by a controller, which this API server has not got: the rules are asked directly.
    cluster.install()
    for user, role in (("viewer", "innervate-view"), ("editor", "innervate-edit")):
        cluster.kubectl(
            "create",
            "rolebinding",
            f"{user}-of-innervate",
            f"--clusterrole={role}",
            f"--user={user}",
            "-n",
            "shop",
        )
    assert may("list", "memorystores.innervate.dev", "shop", user="viewer")
    assert not may("create", "memorystores.innervate.dev", "shop", user="viewer")
    assert may("create", "memorystores.innervate.dev", "shop", user="editor")
    assert not may("create", "memorystores.innervate.dev", "lab", user="editor")
    assert not may("patch", "memorystores.innervate.dev/status", "shop", user="editor")
    cluster.kubectl("delete", "rolebinding", "viewer-of-innervate", "editor-of-innervate", "-n", "shop")
