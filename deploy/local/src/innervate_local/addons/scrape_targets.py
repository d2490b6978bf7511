"""Find the pods to scrape and write them to a file that Prometheus follows.

A pod is scraped at its container port named ``metrics``, or, annotated with
``prometheus.io/scrape: "true"``, at its ``prometheus.io/port``.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local.addons.watching import Watched, access

if TYPE_CHECKING:
    from collections.abc import Iterable

    from innervate_local.addons.watching import Object

_SETTLE_S = 0.5
"""A rollout changes pods many times a second; the file is written at most this often, in seconds."""


def groups(pods: Iterable[Object]) -> list[Object]:
    """Give the target groups of pods, as ``file_sd_configs`` reads them.

    Parameters
    ----------
    pods
        Pods of the whole cluster; those that do not run are passed over.
    """
    found = []
    for pod in pods:
        metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
        port = _port(metadata.get("annotations") or {}, spec)
        if port is None or status.get("phase") != "Running" or not status.get("podIP"):
            continue
        labels = {"namespace": metadata["namespace"], "pod": metadata["name"], "node": spec["nodeName"]}
        found.append({"targets": [f"{status['podIP']}:{port}"], "labels": labels})
    return sorted(found, key=lambda group: (group["labels"]["namespace"], group["labels"]["pod"]))


def _port(annotations: dict[str, str], spec: Object) -> int | None:
    annotated = annotations.get("prometheus.io/port", "")
    if annotations.get("prometheus.io/scrape") == "true" and annotated.isdecimal():
        return int(annotated)
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    ports = [port for container in containers for port in container.get("ports", ())]
    return next((port["containerPort"] for port in ports if port.get("name") == "metrics"), None)


def main() -> None:
    """Keep the file current until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--file", type=Path, required=True)
    options = parser.parse_args()
    changed = threading.Event()
    pods = Watched(access(options.kubeconfig), "/api/v1/pods", changed)
    pods.start()
    while changed.wait():
        changed.clear()
        partial = options.file.with_suffix(".new")
        partial.write_text(json.dumps(groups(pods.objects())))
        partial.replace(options.file)
        time.sleep(_SETTLE_S)


if __name__ == "__main__":
    main()
