"""An inference pool on a real cluster that this machine calls as a workload in the cluster would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from innervate.route import Address
from innervate.rpc import channel_arguments
from innervate_api.exchange.v1 import exchange_pb2 as pb
from innervate_api.exchange.v1.exchange_pb2_grpc import ExchangeServiceStub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

POOL = PIPELINE = "letters"
CLAIM = "models"
CALLER = "default"
"""Account that asks."""
GATEWAY, ENGINE, REDIS = "gateway", "engine", "redis"
HTTPS, GRPC = 8443, 7443
_TOKEN_SECONDS, _RENEWED_SECONDS = 3600, 1800
_APPLICATION = "app.kubernetes.io/name=inferencepool"


def selector(component: str) -> str:
    """Label selector of a component's pods."""
    return f"{_APPLICATION},app.kubernetes.io/component={component}"


def arm(name: str, release: str, weight: int, role: str) -> dict[str, Any]:
    return {"name": name, "releaseRef": {"name": release}, "weight": weight, "role": role}


@dataclass
class LoopPool:
    """A pool in a namespace of its own.

    Parameters
    ----------
    lab
        The cluster.
    namespace
        Where it is.
    """

    lab: Lab
    namespace: str
    _tokens: dict[str, tuple[float, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _trust: bytes = b""

    def prepare(self) -> None:
        """Make what has to be there before the first release: a volume, keys, a way in from this machine."""
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "256Mi"}}}
        machine = [{"ipBlock": {"cidr": "172.30.0.0/16"}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]
        entrance = {
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": GATEWAY}},
            "ingress": [{"from": machine}],
        }
        self.lab.apply(
            self.object("v1", "PersistentVolumeClaim", CLAIM, spec=claim),
            self.object("networking.k8s.io/v1", "NetworkPolicy", "entrance", spec=entrance),
        )
        self.innervate("release", "keygen")

    def object(self, version: str, kind: str, name: str, **content: Any) -> dict[str, Any]:
        """Manifest of something in the namespace."""
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}

    def innervate(self, *arguments: str) -> str:
        """Run the command as a person would, and give what it printed."""
        done = subprocess.run(
            [Path(sys.executable).with_name("innervate"), *arguments, "--namespace", self.namespace],
            env=os.environ | {"KUBECONFIG": str(self.lab.cluster.kubeconfig)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (arguments, done.stderr, self.lab.story(self.namespace))
        return done.stdout

    def push(self, name: str, directory: Path) -> None:
        """Make a verified release of a model."""
        to = ("--to", f"pvc://{CLAIM}", "--name", name, "--signer", "release-signer")
        self.innervate("release", "push", str(directory), *to)

    def push_unsigned(self, name: str, directory: Path) -> None:
        """Declare a release of the same model that nobody signed: it can never be verified."""
        # Another maker is another manifest, which has no signature beside it.
        to = ("--to", f"pvc://{CLAIM}", "--produced-by", "nobody")
        digest = self.innervate("release", "push", str(directory), *to).strip()
        artifact = {"uri": f"pvc://{CLAIM}", "digest": digest}
        self.lab.apply(
            self.object("innervate.dev/v1alpha1", "ModelRelease", name, spec={"artifact": artifact})
        )

    def serve(self, release: str, *, context: int, gateways: int = 2, memory: str = "64Mi") -> None:
        """Declare the pool and wait until it serves a release."""
        self.lab.apply(self.manifest(release, context=context, gateways=gateways, memory=memory))
        self.lab.ready("inferencepools.innervate.dev", POOL, self.namespace, seconds=300)

    def manifest(self, release: str, *, context: int, gateways: int, memory: str) -> dict[str, Any]:
        """The pool; whoever steers its traffic owns that alone."""
        engine = {"name": "cpu", "engine": "LlamaCpp", "parallel": 8, "contextSize": context}
        spec = {
            "model": {"name": POOL, "releaseRef": {"name": release}},
            "variants": [engine],
            "gateway": {"replicas": gateways, "admission": {"deadlineSeconds": 30}},
            "exchangeLog": {
                "redis": {"size": "1Gi", "memory": memory},
                "reclaimPolicy": "Delete",
                "content": "Full",
            },
        }
        return self.object("innervate.dev/v1alpha1", "InferencePool", POOL, spec=spec)

    def read(self) -> dict[str, Any]:
        """The pool as it is now."""
        found = self.lab.read("inferencepools.innervate.dev", POOL, self.namespace)
        assert found is not None
        return found

    @property
    def server_name(self) -> str:
        """Name that a gateway's certificate holds."""
        return f"{POOL}-inferencepool.{self.namespace}.svc"

    def service_address(self) -> str:
        """Address of the gateways' Service, which this machine has a way to."""
        service = self.lab.read("service", f"{POOL}-inferencepool", self.namespace)
        assert service is not None
        address: str = service["spec"]["clusterIP"]
        return address

    def gateway_addresses(self) -> dict[str, str]:
        """Address of each gateway pod that runs, by its name."""
        pods = self.lab.pods(self.namespace, selector(GATEWAY))
        return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in pods if "podIP" in pod["status"]}

    def trust(self) -> bytes:
        """Authorities that certify the gateways."""
        if not self._trust:
            anchors = self.lab.read("configmap", f"{POOL}-inferencepool-trust", self.namespace)
            assert anchors is not None
            self._trust = anchors["data"]["ca.crt"].encode()
        return self._trust

    def token(self, account: str = CALLER) -> str:
        """Token of an account of the namespace; may be called from any thread."""
        with self._lock:
            made, token = self._tokens.get(account, (0.0, ""))
            if not token or time.monotonic() - made > _RENEWED_SECONDS:
                asked = ("--audience=innervate", f"--duration={_TOKEN_SECONDS}s")
                token = self.lab.kubectl("create", "token", account, "-n", self.namespace, *asked).strip()
                self._tokens[account] = (time.monotonic(), token)
            return token

    @contextmanager
    def gateway(self, address: str, *, account: str = CALLER) -> Iterator[GatewayCalls]:
        """Calls to one gateway, or by the Service's address to any."""
        target, credentials, options = channel_arguments(
            Address(f"ipv4:{address}:{GRPC}", self.server_name, self.trust())
        )
        with grpc.secure_channel(target, credentials, options) as channel:
            yield GatewayCalls(self, account, ExchangeServiceStub(channel))

    def exchanges(self, *, account: str = CALLER) -> list[pb.Exchange]:
        """All that an account has asked, by the exchange log."""
        with self.gateway(self.service_address(), account=account) as gateway:
            return gateway.exchanges()

    def settled(self) -> bool:
        """Whether every gateway serves the pool as it is declared now."""
        found = self.read()
        routes = found.get("status", {}).get("routes") or {}
        return bool(routes.get("acknowledged", 0) >= found["metadata"]["generation"])

    def eval_samples(self, job: str) -> list[dict[str, Any]]:
        """What an eval job kept of its questions, one entry for each and arm."""
        text = self.innervate("eval", "report", job, "--file", "samples")
        return [json.loads(line) for line in text.splitlines()[1:]]


@dataclass(frozen=True)
class GatewayCalls:
    """The exchange service as an account of the pool's namespace has it."""

    pool: LoopPool
    account: str
    stub: ExchangeServiceStub

    def routes(self, *, seconds: float = 5) -> pb.RoutesResponse:
        """Which routes it serves."""
        return self.stub.Routes(pb.RoutesRequest(), timeout=seconds, metadata=self._metadata())

    def report(self, request_id: str, value: float, *, seconds: float = 10) -> int:
        """Say what came of an answer."""
        feedback = pb.Feedback(request_id=request_id, name="success", value=value)
        request = pb.ReportRequest(feedback=[feedback])
        (result,) = self.stub.Report(request, timeout=seconds, metadata=self._metadata()).results
        return result

    def exchanges(self) -> list[pb.Exchange]:
        """The account's whole log, in its order."""
        found: list[pb.Exchange] = []
        token = ""
        while True:
            request = pb.ListRequest(page_size=1000, page_token=token)
            page = self.stub.List(request, timeout=60, metadata=self._metadata())
            found += page.exchanges
            token = page.next_page_token
            if not token:
                return found

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.pool.token(self.account)}"),)
