"""A cluster with Innervate in it, and ways to ask and disturb it."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from innervate import MemoryClient
from innervate.forward import PortForward
from innervate.kubectl import Kubectl
from innervate_local import binaries, images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from innervate import Retry
    from innervate_local.cluster import Cluster

SYSTEM = "innervate-system"
OPERATOR = "app.kubernetes.io/component=operator"
OBSERVABILITY = "innervate-observability"


def store(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    """Manifest of a MemoryStore."""
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "MemoryStore",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@dataclass(frozen=True)
class Lab:
    """A cluster with Innervate in it, and ways to ask and disturb it."""

    cluster: Cluster

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator."""
        return self.cluster.kubectl(*arguments, stdin=stdin)

    def helm(self, *arguments: str) -> str:
        """Run helm as the administrator."""
        command = [str(binaries.path("helm")), *arguments, "--kubeconfig", str(self.cluster.kubeconfig)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply manifests server-side with strict validation, as a user would."""
        self.kubectl(
            "apply", "--server-side", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(manifests)
        )

    def read(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """Read an object; None where it is not there."""
        where = ("--namespace", namespace) if namespace else ()
        text = self.kubectl("get", kind, name, *where, "--ignore-not-found", "--output=json")
        return json.loads(text) if text.strip() else None

    def pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """List pods that are not being deleted."""
        text = self.kubectl("get", "pods", "-n", namespace, "-l", selector, "--output=json")
        return [pod for pod in json.loads(text)["items"] if "deletionTimestamp" not in pod["metadata"]]

    def gone(self, namespace: str, selector: str) -> bool:
        """Whether no pod is left, not even one that is being deleted."""
        return not self.kubectl("get", "pods", "-n", namespace, "-l", selector, "--output=name").strip()

    def eventually(self, check: Callable[[], Any], *, seconds: float = 60, every: float = 0.25) -> Any:
        """Wait until a check gives something true and give it; fail with what it last gave."""
        deadline = time.monotonic() + seconds
        while True:
            outcome = check()
            if outcome:
                return outcome
            assert time.monotonic() < deadline, f"still {outcome!r} after {seconds} s"
            time.sleep(every)

    @staticmethod
    def sleep(seconds: float) -> None:
        """Let real time pass where nothing tells when it is over."""
        time.sleep(seconds)

    def condition(self, kind: str, name: str, type_: str, namespace: str | None = None) -> dict[str, Any]:
        """Read a condition of the current generation; empty where there is none yet."""
        found = self.read(kind, name, namespace) or {}
        generation = found.get("metadata", {}).get("generation")
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == type_ and condition["observedGeneration"] == generation:
                return condition
        return {}

    def ready(self, kind: str, name: str, namespace: str | None = None, *, seconds: float = 90) -> None:
        """Wait until a resource is Ready at its current generation."""
        deadline = time.monotonic() + seconds
        while (found := self.condition(kind, name, "Ready", namespace)).get("status") != "True":
            assert time.monotonic() < deadline, (found, self.story(namespace))
            time.sleep(0.25)

    def told(
        self, store: str, namespace: str, reason: str, *, type_: str = "Ready", seconds: float = 60
    ) -> str:
        """Wait until a condition of a MemoryStore has a reason, and give its message."""
        deadline = time.monotonic() + seconds
        while (found := self.condition("memorystore", store, type_, namespace)).get("reason") != reason:
            assert time.monotonic() < deadline, (found, self.story(namespace))
            time.sleep(0.25)
        message: str = found["message"]
        return message

    def story(self, namespace: str | None) -> str:
        """What a failure report needs: pods and recent events."""
        where = ("-n", namespace) if namespace else ("-A",)
        return self.kubectl("get", "pods,events", *where, "-o", "wide")

    def memory(
        self, store: str, namespace: str, account: str = "default", *, retry: Retry | None = None
    ) -> MemoryClient:
        """Client of a store, through the API server as from a laptop."""
        return MemoryClient.from_kubernetes(
            store,
            namespace=namespace,
            kubeconfig=str(self.cluster.kubeconfig),
            service_account=account,
            retry=retry,
        )

    def operator_writes(self, namespace: str | None = None) -> list[str]:
        """What the operator wrote so far, by the API server's audit log: Leases and Events excluded."""
        user = f"system:serviceaccount:{SYSTEM}:innervate-operator"
        return [
            f"{write['verb']} {write['requestURI']} {write['responseStatus']['code']}"
            for write in self.cluster.writes(user, namespace)
        ]

    def run_pod(self, namespace: str, program: str, *, labels: dict[str, str]) -> dict[str, Any]:
        """Run a Python program in a pod of its own to its end and give the pod."""
        name = f"run-{uuid.uuid4().hex[:8]}"
        security = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {
            "name": "program",
            "image": images.BASE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python3", "-c", program],
            "securityContext": security,
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "containers": [container],
                },
            }
        )

        def ended() -> dict[str, Any] | None:
            pod = self.read("pod", name, namespace)
            return pod if pod and pod["status"]["phase"] in {"Succeeded", "Failed"} else None

        pod: dict[str, Any] = self.eventually(ended)
        self.kubectl("delete", "pod", name, "-n", namespace, "--wait=false")
        return pod

    def kill_pods(self, namespace: str, selector: str) -> None:
        """Kill pods at once, as a power cut would."""
        self.kubectl(
            *("delete", "pods", "-n", namespace, "-l", selector),
            *("--grace-period=0", "--force", "--wait=false"),
        )

    def _kubectl(self, namespace: str) -> Kubectl:
        return Kubectl(namespace=namespace, kubeconfig=str(self.cluster.kubeconfig))

    def forward(self, namespace: str, service: str, port: int) -> PortForward:
        """Port of a Service on loopback."""
        return PortForward(self._kubectl(namespace), service, port)

    @contextmanager
    def namespace(self, prefix: str) -> Iterator[str]:
        """Namespace of a test's own, under the restricted Pod Security standard."""
        name = f"{prefix}-{uuid.uuid4().hex[:6]}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
        )
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
