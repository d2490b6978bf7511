"""Waits until a resource is what it was declared to be, telling what happens meanwhile."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from innervate_kinds.api.conditions import READY, STALLED, SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from innervate_kinds.api.kind import Kind

    from innervate.kubectl import Kubectl

_AGAIN_S = 0.5


def states(
    kubectl: Kubectl, kind: Kind, namespace: str | None, name: str, *, timeout: float
) -> Iterator[Mapping[str, Any]]:
    """Yield a resource now and after each change, until the time is over.

    Parameters
    ----------
    kubectl
        How to reach the cluster.
    kind, namespace, name
        The resource.
    timeout
        Seconds after which nothing more is yielded.
    """
    deadline = time.monotonic() + timeout
    selector = quote(f"metadata.name={name}")
    path = f"{kind.path(namespace)}?watch=true&fieldSelector={selector}&timeoutSeconds={max(1, int(timeout))}"
    while time.monotonic() < deadline:
        yield kubectl.read(kind.path(namespace, name))
        with _patience(kubectl, path, deadline) as events:
            for event in events:
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield event["object"]
        time.sleep(min(_AGAIN_S, max(0.0, deadline - time.monotonic())))


@contextmanager
def _patience(kubectl: Kubectl, path: str, deadline: float) -> Iterator[Iterator[dict[str, Any]]]:
    """Watch that ends at the deadline even when nothing comes."""
    process = kubectl.start("get", "--raw", path)
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), process.kill)
    timer.start()
    try:
        yield (json.loads(line) for line in process.stdout or ())
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def settled(resource: Mapping[str, Any]) -> bool | None:
    """Whether the current generation is ready (True), will never be (False), or is on its way (None)."""
    generation = resource["metadata"].get("generation", 0)
    conditions = {
        each["type"]: each["status"]
        for each in (resource.get("status") or {}).get("conditions") or ()
        if each.get("observedGeneration", 0) >= generation
    }
    if "True" in (conditions.get(READY), conditions.get(SUCCEEDED)):
        return True
    if conditions.get(STALLED) == "True":
        return False
    return None
