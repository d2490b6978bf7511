"""kubectl and the command on a real API server with our kinds, without operator and nodes."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command import command
from innervate.kubectl import COMMAND, Kubectl
from innervate_kinds.registry import ROOMS
from innervate_local import binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command import Innervate
    from innervate_local.control_plane import ControlPlane

CRDS = Path(__file__).resolve().parents[3] / "crds"


@pytest.fixture(scope="session")
def cluster(api_server: ControlPlane) -> Iterator[Kubectl]:
    """The administrator's kubectl, of the cluster's own version, on an API server that knows our kinds."""
    kubectl = Kubectl(kubeconfig=str(api_server.kubeconfig))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMMAND, f"{binaries.path('kubernetes')} kubectl")
        kubectl.run("apply", "--server-side", "--force-conflicts", "--filename", str(CRDS))
        kubectl.run("wait", "--for=condition=Established", "--timeout=30s", "--filename", str(CRDS))
        for room in ROOMS:
            kubectl.run("get", "--raw", room.kind.path())
        yield kubectl


@pytest.fixture
def kubectl(cluster: Kubectl) -> Kubectl:
    """kubectl in a namespace of the test's own."""
    namespace = f"client-{uuid.uuid4().hex[:8]}"
    cluster.run("create", "namespace", namespace)
    return Kubectl(namespace=namespace, kubeconfig=cluster.kubeconfig)


@pytest.fixture
def innervate(
    kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Innervate]:
    """Run the command in the test's namespace, unless told otherwise."""
    with command(monkeypatch, capsys, str(kubectl.kubeconfig)) as run:
        place = ("--namespace", str(kubectl.namespace))
        yield lambda *arguments, stdin="", namespace=True: run(
            *arguments, *(place if namespace else ()), stdin=stdin
        )


def store(name: str, **spec: object) -> str:
    """MemoryStore as JSON, which is YAML."""
    head = {"apiVersion": "innervate.dev/v1alpha1", "kind": "MemoryStore", "metadata": {"name": name}}
    return json.dumps({**head, "spec": spec})


@pytest.fixture
def tell(kubectl: Kubectl) -> Callable[..., None]:
    """Write a status, as the operator would."""

    def write(name: str, **status: object) -> None:
        path = f"/apis/innervate.dev/v1alpha1/namespaces/{kubectl.namespace}/memorystores/{name}"
        resource = kubectl.read(path)
        status.setdefault("observedGeneration", resource["metadata"]["generation"])
        body = json.dumps({**resource, "status": status})
        kubectl.run("replace", "--raw", f"{path}/status", "--filename", "-", stdin=body)

    return write


def ready(status: str, reason: str, message: str, generation: int = 1) -> dict[str, object]:
    """Ready condition."""
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-31T08:30:00Z",
    }
