"""A pod that has a claim mounted for reading: how a laptop sees what a run or a job left."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_kinds.api import workload
from innervate_kinds.api.kind import POD

from innervate.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innervate_kinds.api.plan import Config

    from innervate.kubectl import Kubectl

_SECONDS = 3600
"""A pod that its client forgot is ended after this."""
_START_PIECES = 4
_WAIT = "import signal; signal.pause()"


class Reader(NamedTuple):
    """What is to be read, and by what."""

    claim: str
    """PersistentVolumeClaim, mounted read-only."""
    path: str
    """Where it is mounted."""
    image: str
    """Short name of the image whose programs read it."""
    application: str
    """What the pod is called."""
    memory: str = "128Mi"
    """Most that the programs may use."""
    scratch: str = ""
    """Size of ``/tmp``; empty for none."""


@contextmanager
def pod(kubectl: Kubectl, reader: Reader, config: Config) -> Iterator[str]:
    """Name of a pod with the claim mounted, for as long as the context lasts.

    Parameters
    ----------
    kubectl
        Names its namespace.
    reader
        What to read.
    config
        The operator's set-up, for the pod's image.

    Raises
    ------
    Unavailable
        The pod does not start.
    """
    name = f"{reader.application}-{uuid.uuid4().hex[:8]}"
    kubectl.run("create", "-f", "-", stdin=json.dumps(_manifest(name, reader, config)))
    try:
        # In pieces: each is shorter than any call of kubectl may take.
        for _ in range(_START_PIECES):
            done = kubectl.attempt("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=45s")
            if not done.returncode:
                break
        else:
            raise Unavailable(
                f"the pod that is to read the volume does not start: {done.stderr.strip()}",
                fix=f"see why: kubectl describe -n {kubectl.namespace} pvc {reader.claim}",
            )
        yield name
    finally:
        kubectl.attempt("delete", "pod", name, "--ignore-not-found", "--wait=false", "--grace-period=1")


def _manifest(name: str, reader: Reader, config: Config) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "data", "mountPath": reader.path, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "data", "persistentVolumeClaim": {"claimName": reader.claim}}]
    if reader.scratch:
        mounts.append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108  a volume of its own
        volumes.append({"name": "tmp", "emptyDir": {"sizeLimit": reader.scratch}})
    container = {
        "name": "read",
        "image": config.image(reader.image),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-c", _WAIT],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": reader.memory},
        },
        "securityContext": workload.CONTAINER_SECURITY,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "v1",
        "kind": POD.kind,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": reader.application}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": workload.POD_SECURITY,
            **workload.pull_settings(config),
            "containers": [container],
            "volumes": volumes,
        },
    }
