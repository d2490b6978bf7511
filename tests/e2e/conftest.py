"""What end-to-end tests share: a real cluster of their own, with the chart installed."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from innervate import MemoryClient, setup_tracing
from innervate.forward import PortForward
from innervate.kubectl import Kubectl
from innervate_local import binaries, images
from innervate_local.cluster import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
NAME = "innervate-test"
SYSTEM = "innervate-system"
OPERATOR = "app.kubernetes.io/component=operator"
OBSERVABILITY = "innervate-observability"
OTLP = f"http://innervate-telemetry.{OBSERVABILITY}.svc:4317"
KEEP = "INNERVATE_KEEP_CLUSTER"
"""Set to 1, the cluster stays up after the tests, for the next run or a look."""


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

    def eventually(self, check: Callable[[], Any], *, seconds: float = 60, every: float = 0.25) -> Any:
        """Wait until a check gives something true and give it; fail with what it last gave."""
        deadline = time.monotonic() + seconds
        while True:
            outcome = check()
            if outcome:
                return outcome
            assert time.monotonic() < deadline, f"still {outcome!r} after {seconds} s"
            time.sleep(every)

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

    def story(self, namespace: str | None) -> str:
        """What a failure report needs: pods and recent events."""
        where = ("-n", namespace) if namespace else ("-A",)
        return self.kubectl("get", "pods,events", *where, "-o", "wide")

    def memory(self, store: str, namespace: str, account: str = "default") -> MemoryClient:
        """Client of a store, through the API server as from a laptop."""
        return MemoryClient.from_kubernetes(
            store,
            namespace=namespace,
            kubeconfig=str(self.cluster.kubeconfig),
            service_account=account,
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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster of the tests' own, never one that a user names."""
    cluster = Cluster(NAME)
    os.environ["INNERVATE_KUBECTL"] = f"{binaries.path('kubernetes')} kubectl"
    cluster.up()
    images.load(images.build(), cluster.nodes)
    yield cluster
    if os.environ.get(KEEP) != "1":
        cluster.down()


@pytest.fixture(scope="session")
def lab(cluster: Cluster) -> Lab:
    """The cluster with the chart installed."""
    lab = Lab(cluster)
    lab.helm(
        *("upgrade", "--install", "innervate", str(ROOT / "charts/innervate")),
        *("--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "120s"),
        *("--set", f"telemetry.otlpEndpoint={OTLP}"),
    )
    return lab


@pytest.fixture(scope="session")
def tracing(lab: Lab) -> Iterator[Callable[[], None]]:
    """Send the test's own client spans to the cluster's collector; gives what flushes them."""
    with lab.forward(OBSERVABILITY, "innervate-telemetry", 4317) as forward:
        end = setup_tracing(f"http://127.0.0.1:{forward.port}")
        yield end
        end()
