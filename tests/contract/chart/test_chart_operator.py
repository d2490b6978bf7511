"""The operator itself, with no rights but those the chart gives it, does its work."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("namespaces")]

LOOPBACK = "127.0.0.1:0"
CHILDREN = (
    "serviceaccounts,configmaps,services,deployments,statefulsets,networkpolicies,persistentvolumeclaims"
)


@pytest.fixture
def operator(cluster, tmp_path):
    """Start the operator as the chart's ServiceAccount; it is ended after the test."""
    running = []

    def start(*flags):
        account = "system:serviceaccount:innervate-system:innervate-operator"
        kubeconfig = cluster.plane.kubeconfig_for(account, groups=["system:serviceaccounts"])
        log = tmp_path / "operator.log"
        listen = [f"--{part}-listen={LOOPBACK}" for part in ("identity", "health", "metrics")]
        command = [sys.executable, "-m", "innervate_operator", f"--kubeconfig={kubeconfig}", *listen, *flags]
        with log.open("wb") as output:
            running.append(
                subprocess.Popen(
                    [*command, "--namespace=innervate-system"], stdout=output, stderr=output, env=os.environ
                )
            )
        return log

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


def store(name, namespace):
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "MemoryStore",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {},
    }


def eventually(check, log, seconds=90):
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        time.sleep(0.3)
    return found


def children(cluster, name, namespace):
    uid = cluster.get("memorystore", name, "-n", namespace)["metadata"]["uid"]
    found = cluster.get(CHILDREN, "-n", namespace, f"--selector=innervate.dev/owner-uid={uid}")
    return {each["kind"] for each in found["items"]}


# Another name each time: nobody collects the children of a deleted store on this API server.
@pytest.mark.parametrize(("name", "watched"), [("all", ()), ("some", ("shop", "lab"))])
def test_the_charts_rights_are_enough(cluster, operator, name, watched):
    cluster.install({"watchNamespaces": list(watched)})
    cluster.apply(store(name, "elsewhere"))
    log = operator(*([f"--watch-namespaces={','.join(watched)}"] if watched else []))
    cluster.apply(store(name, "shop"))

    def told():
        status = cluster.get("memorystore", name, "-n", "shop").get("status", {})
        return {each["type"]: each["status"] for each in status.get("conditions", [])}

    conditions = eventually(told, log)
    assert conditions["Accepted"] == "True"
    made = eventually(lambda: len(found := children(cluster, name, "shop")) == 7 and found, log)
    assert made >= {"StatefulSet", "Deployment", "NetworkPolicy", "PersistentVolumeClaim"}
    # The first may have been there when the operator listed; this one only a watch can tell of.
    cluster.apply(store(name, "lab"))
    eventually(lambda: len(children(cluster, name, "lab")) == 7, log)
    assert cluster.get("secret", "innervate-ca", "-n", "innervate-system")["data"]
    assert cluster.get("lease", "innervate-operator", "-n", "innervate-system")["spec"]["holderIdentity"]
    assert bool(children(cluster, name, "elsewhere")) != bool(watched)
    said = log.read_text()
    assert "orbidden" not in said
    assert "Not enough permissions" not in said
