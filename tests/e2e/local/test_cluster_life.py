"""The life of a cluster: up, used, cut, crashed, healed, down, and nothing left of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from os import getpid, kill
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml
from innervate_local import cgroups, images, mounts, process, state
from innervate_local.cluster import Cluster
from innervate_local.errors import LocalError
from innervate_local.node import POOL_LABEL, RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NAME = "innervate-life"
PATIENCE_S = 120
SERVE = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(os.environ["POOL"].encode())
http.server.HTTPServer(("", 8080), Answer).serve_forever()
"""
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


class Traces(NamedTuple):
    """Where a cluster could leave something of itself."""

    links: set[str]
    rules: str
    groups: set[Path]

    @classmethod
    def read(cls) -> Traces:
        links = json.loads(process.run(["ip", "-json", "link", "show"]))
        rules = process.run(["iptables-save"]).splitlines()
        return cls(
            links={link["ifname"] for link in links},
            # Comments hold the time.
            rules="\n".join(line for line in rules if not line.startswith("#")),
            groups={path for each in cgroups.hierarchies() for path in each.root.glob(f"innervate-{NAME}*")},
        )


def pod(name: str, pool: str) -> dict[str, Any]:
    container = {
        "name": "serve",
        "image": images.BASE,
        "command": ["python3", "-c", SERVE],
        "env": [{"name": "POOL", "value": pool}],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {POOL_LABEL: pool},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    }


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.5)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(NAME)
    # What an earlier, killed run of this test left.
    cluster.down()
    yield cluster
    cluster.down()


def test_a_cluster_lives_and_leaves_nothing(cluster: Cluster) -> None:
    before = Traces.read()
    cluster.up()
    first = known(cluster)
    use(cluster)
    cluster.up()
    assert known(cluster) == first, "a cluster that is up was not left alone"

    cut_and_heal(cluster)

    crash(cluster, first)
    assert not cluster.is_up()
    cluster.up()
    second = known(cluster)
    assert not any(map(process.is_running, first.values()))
    assert all(map(process.is_running, second.values()))
    use(cluster)

    directories, slot = (cluster.directory, RUN / NAME), cluster.slot
    held = cgroups.processes(f"innervate-{NAME}")
    namespaces = {namespace for pid in held if (namespace := network_of(pid))} - {network_of(getpid())}
    assert len(namespaces) > len(cluster.nodes), "nodes and pods have their own"
    outside = [path for node in cluster.nodes for path in node.leftovers()]
    assert {path.parent.name for path in outside} == {"results", "s"}, "of CNI, and of the shims"
    assert mounts.below(*directories)
    assert len(held) > len(second), "containers belong to the cluster's group"
    cluster.down()
    assert not any(map(process.is_running, second.values()))
    assert not [pid for pid in held if (still := process.identify(pid)) and in_group(still)]
    assert not mounts.below(*directories)
    assert not any(directory.exists() for directory in directories)
    after = Traces.read()
    assert after.rules == before.rules
    assert slot.bridge not in after.links
    assert not {link for link in after.links - before.links if link.startswith(slot.bridge)}
    assert not after.groups
    # Gone some time after their last process.
    eventually(lambda: not namespaces & all_networks(), "network namespaces gone")
    assert not [path for path in outside if path.exists()]
    logs = [each.readlink() for each in Path("/var/log/containers").iterdir()]
    assert not [target for target in logs if target.is_relative_to(directories[0])]


def known(cluster: Cluster) -> dict[str, process.Identity]:
    found = state.read(cluster.name)
    assert found
    return found.processes


def network_of(pid: int) -> str | None:
    """Give the number of a process's network namespace, if it still runs."""
    try:
        return re.sub(r"\D", "", str(Path(f"/proc/{pid}/ns/net").readlink()))
    except FileNotFoundError:
        return None


def all_networks() -> set[str]:
    return set(process.run(["lsns", "--type=net", "--noheadings", "--output=NS"]).split())


def in_group(identity: process.Identity) -> bool:
    return NAME in Path(f"/proc/{identity.pid}/cgroup").read_text()


def use(cluster: Cluster) -> None:
    """Run a pod on each node and reach each from everywhere, by name and address."""
    pools = ("cpu", "edge")
    manifests = [each for pool in pools for each in (pod(f"on-{pool}", pool), service(f"on-{pool}"))]
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))
    cluster.kubectl("wait", "--for=condition=Ready", "pod/on-cpu", "pod/on-edge", "--timeout=60s")
    for pool in pools:
        address = cluster.kubectl("get", "service", f"on-{pool}", "-o", "jsonpath={.spec.clusterIP}")
        # A Service's rules reach each node a moment after its pod is ready.
        eventually(lambda url=f"http://{address}", pool=pool: answer(url) == pool, f"{address} from here")
        for caller in pools:
            url = f"http://on-{pool}.default.svc.cluster.local"
            asking = ("exec", f"on-{caller}", "--", "python3", "-c", ASK, url)
            eventually(
                lambda asking=asking, pool=pool: attempt(cluster, *asking) == pool, f"{pool} from {caller}"
            )


def attempt(cluster: Cluster, *arguments: str) -> str | None:
    try:
        return cluster.kubectl(*arguments).strip()
    except LocalError:
        return None


def answer(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # of our own cluster
            return str(response.read().decode())
    except OSError:
        return None


def cut_and_heal(cluster: Cluster) -> None:
    """Lose the edge for real; its pod goes on, and is the same afterwards."""

    def edge_pod() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", "on-edge", "-o", "json"))
        return found["status"]

    def ready() -> str:
        path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return cluster.kubectl("get", "node", "edge", "-o", path)

    before, url = edge_pod(), f"http://{edge_pod()['podIP']}:8080"
    cluster.cut_edge()
    assert not cluster.edge.is_linked()
    assert answer(url) is None
    inside = process.run(cluster.edge.command("python3", "-c", ASK, url))
    assert inside.strip() == "edge", "the pod stopped answering inside its node"
    eventually(lambda: ready() == "Unknown", "the lost node is noticed")
    cluster.heal_edge()
    eventually(lambda: ready() == "True", "the node is back")
    eventually(lambda: answer(url) == "edge", "its pod is reached again")
    assert edge_pod()["containerStatuses"][0]["containerID"] == before["containerStatuses"][0]["containerID"]


def crash(cluster: Cluster, processes: dict[str, process.Identity]) -> None:
    """Kill half of the cluster, as a machine out of memory might; pods and mounts stay."""
    for component in ("etcd", "core/containerd", "core/kubelet"):
        with suppress(ProcessLookupError):
            kill(processes[component].pid, signal.SIGKILL)
    assert mounts.below(cluster.directory)


def test_two_clusters_live_side_by_side(cluster: Cluster) -> None:
    other = Cluster(f"{NAME}-b")
    other.down()
    try:
        cluster.up()
        other.up()
        assert cluster.slot != other.slot
        use(other)
        use(cluster)
        other.down()
        use(cluster)
    finally:
        other.down()


def test_a_state_directory_lost_by_hand_is_survived(cluster: Cluster) -> None:
    cluster.up()
    first, bridge = known(cluster), cluster.slot.bridge
    (cluster.directory / "state.json").unlink()
    cluster.down()
    assert not any(map(process.is_running, first.values()))
    assert not mounts.below(cluster.directory, RUN / NAME)
    shown = subprocess.run(["ip", "link", "show", "dev", bridge], capture_output=True, check=False)
    assert shown.returncode != 0
