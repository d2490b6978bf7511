"""What an eval job keeps on its volume, read through a pod that lives as long as the reading."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from innervate_kinds.api import workload
from innervate_kinds.api.kind import POD
from innervate_kinds.eval_job.names import Names

from innervate.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from innervate_kinds.api.plan import Config

    from innervate.kubectl import Kubectl

_PATH = "/var/lib/innervate/evaluation"
_SECONDS = 600
"""A pod that its client forgot is ended after this."""
_START_PIECES = 4
_WAIT = "import signal; signal.pause()"
_SHOW = "import shutil, sys; shutil.copyfileobj(open(sys.argv[1], 'rb'), sys.stdout.buffer)"


def read(kubectl: Kubectl, job: str, file: str, config: Config) -> str:
    """Content of a file on the volume of an eval job.

    Parameters
    ----------
    kubectl
        Names its namespace.
    job
        Name of the EvalJob.
    file
        Name of the file.
    config
        The operator's set-up, for the pod's image.

    Raises
    ------
    InnervateError
        The pod does not start, or the file is not there.
    """
    with _pod(kubectl, Names.of(job).data, config) as pod:
        return kubectl.run("exec", pod, "--", "python3", "-c", _SHOW, f"{_PATH}/{file}")


@contextmanager
def _pod(kubectl: Kubectl, claim: str, config: Config) -> Iterator[str]:
    """Pod with the claim mounted, for as long as the context lasts."""
    name = f"eval-report-{uuid.uuid4().hex[:8]}"
    kubectl.run("create", "-f", "-", stdin=json.dumps(_manifest(name, claim, config)))
    try:
        # In pieces: each is shorter than any call of kubectl may take.
        for _ in range(_START_PIECES):
            done = kubectl.attempt("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=45s")
            if not done.returncode:
                break
        else:
            raise Unavailable(
                f"the pod that is to read the report does not start: {done.stderr.strip()}",
                fix=f"see why: kubectl describe -n {kubectl.namespace} pvc {claim}",
            )
        yield name
    finally:
        kubectl.attempt("delete", "pod", name, "--ignore-not-found", "--wait=false", "--grace-period=1")


def _manifest(name: str, claim: str, config: Config) -> dict[str, Any]:
    container = {
        "name": "read",
        "image": config.image("evaluator"),
        "imagePullPolicy": config.image_pull_policy,
        "command": ["python3", "-c", _WAIT],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
        "securityContext": workload.CONTAINER_SECURITY,
        "volumeMounts": [{"name": "data", "mountPath": _PATH, "readOnly": True}],
    }
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    return {
        "apiVersion": "v1",
        "kind": POD.kind,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "eval-report"}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _SECONDS,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": workload.POD_SECURITY,
            **workload.pull_settings(config),
            "containers": [container],
            "volumes": [volume],
        },
    }
