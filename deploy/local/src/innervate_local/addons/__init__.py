"""What a bare cluster lacks: DNS, storage, enforced NetworkPolicies, a trace store, Prometheus.

Their programs come from this machine's cache and are mounted read-only into pods of
the base image, so that starting a cluster neither builds nor imports images for them.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from innervate_local import binaries, images, packages
from innervate_local.errors import LocalError
from innervate_local.images import loading
from innervate_local.progress import step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_local.cluster import Cluster

OBSERVABILITY = "innervate-observability"
"""The namespace of the trace store and of Prometheus."""
_PART_OF = "app.kubernetes.io/part-of=innervate-local"
_MANIFESTS = Path(__file__).parent / "manifests"
_NAMESPACE = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {OBSERVABILITY}}}\n"


def install(cluster: Cluster) -> None:
    """Install every addon and wait until all of them are available.

    Parameters
    ----------
    cluster
        Its nodes are ready.

    Raises
    ------
    LocalError
        When one cannot be made, or is not available within two minutes.
    """
    packages.ensure("prometheus")
    values = _values(cluster)
    # The base alone: what else the nodes need is for those who use them to load.
    loading.load(images.build(()), cluster.nodes)
    with step("starting DNS, storage, network policies, trace store and Prometheus"):
        _start_processes(cluster)
        cluster.kubectl("apply", "--server-side", "--filename=-", stdin=manifests(values))
        _await(cluster)


def manifests(values: Mapping[str, str]) -> str:
    """Render the manifests of all addons as one stream.

    Parameters
    ----------
    values
        What the templates ask for.
    """
    templates = [Template(file.read_text()) for file in sorted(_MANIFESTS.glob("*.yaml"))]
    return "---\n".join([_NAMESPACE, *(template.substitute(values) for template in templates)])


def _await(cluster: Cluster) -> None:
    try:
        cluster.kubectl(
            *("wait", "deployment", "--all-namespaces", f"--selector={_PART_OF}"),
            *("--for=condition=Available", "--timeout=120s"),
        )
    except LocalError as error:
        # The wait names every deployment it had not yet come to.
        pods = cluster.kubectl("get", "pods", "--all-namespaces")
        raise LocalError(f"not everything of the cluster became available:\n{pods}") from error


def _values(cluster: Cluster) -> dict[str, str]:
    # Names of the machine's disk: a quote in them would end YAML's.
    paths = [{"node": node.name, "paths": [str(node.storage)]} for node in cluster.nodes]
    return {
        "image": images.BASE,
        # The node that is never cut off: a lost edge must not take DNS or traces with it.
        "node": cluster.nodes[0].name,
        "dns_address": cluster.slot.dns_address,
        "storage_paths": json.dumps({"nodePathMap": paths}).replace("'", "''"),
        "coredns": str(binaries.path("coredns")),
        "jaeger": str(binaries.path("jaeger")),
        "local_path_provisioner": str(binaries.path("local-path-provisioner")),
        "targets": str(_targets(cluster)),
        "prometheus": shutil.which("prometheus") or "/usr/bin/prometheus",
    }


def _targets(cluster: Cluster) -> Path:
    return cluster.directory / "prometheus-targets"


def _start_processes(cluster: Cluster) -> None:
    _targets(cluster).mkdir(exist_ok=True)
    cluster.nodes[0].spawn(
        "scrape-targets",
        [
            *(sys.executable, "-m", "innervate_local.addons.scrape_targets"),
            *("--kubeconfig", str(cluster.kubeconfig), "--file", str(_targets(cluster) / "pods.json")),
        ],
    )
    for node in cluster.nodes:
        node.spawn(
            "network-policies",
            [
                *(sys.executable, "-m", "innervate_local.addons.network_policies"),
                *("--kubeconfig", str(cluster.kubeconfig), "--node", node.name),
                *("--pods", cluster.slot.pod_cidr),
            ],
        )
