"""A fresh API server for each run, with the bench kind, an audit log of writes, and a watch for readiness."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import yaml
from innervate_local import audit
from innervate_local.control_plane import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

BUNDLES = "/apis/bench.innervate.dev/v1/namespaces/default/bundles"
CHILDREN = [
    f"{root}/namespaces/default/{plural}"
    for root, plural in (
        ("/api/v1", "serviceaccounts"),
        ("/api/v1", "configmaps"),
        ("/api/v1", "services"),
        ("/apis/apps/v1", "deployments"),
        ("/apis/networking.k8s.io/v1", "networkpolicies"),
    )
]
CREATORS = 4
"""Threads that create objects: enough to keep either operator's queue full."""


class Stage:
    """etcd, API server and controller manager for one run; leaving it ends them.

    Parameters
    ----------
    directory
        Empty directory for data, logs and the audit log.
    crd
        The bench kind's definition.
    """

    def __init__(self, directory: Path, crd: Path) -> None:
        directory.mkdir(parents=True)
        policy = directory / "audit-policy.json"
        policy.write_text(json.dumps(audit.POLICY))
        self.directory = directory
        self.plane = ControlPlane(
            directory,
            controller_manager=True,
            api_server_flags=[
                f"--audit-policy-file={policy}",
                f"--audit-log-path={self._audit}",
                # As a production server has them; the default would throttle either operator.
                "--max-mutating-requests-inflight=400",
            ],
        )
        self._crd = crd

    @property
    def _audit(self) -> Path:
        return self.directory / "audit.log"

    def __enter__(self) -> Self:
        self.plane.__enter__()
        self._tls = _client_context(self.plane.kubeconfig)
        definition = yaml.safe_load(self._crd.read_text())
        self.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        deadline = time.monotonic() + 30
        while not self._served(BUNDLES):
            if time.monotonic() > deadline:
                raise TimeoutError("the API server did not serve the bench kind within 30 s")
            time.sleep(0.1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.plane.__exit__(kind, error, traceback)

    def account(self, user: str) -> Path:
        """Give a kubeconfig for an operator, known to the audit log by this name."""
        return self.plane.kubeconfig_for(user, groups=["system:masters"])

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Make one request as the administrator."""
        return _request(self._connection(), method, path, body)

    def create(self, names: Iterable[str]) -> float:
        """Create objects, and wait until all are Ready.

        Returns
        -------
        float
            Seconds from before the first creation until the last object was Ready.
        """
        wanted = list(names)
        watcher = _Watcher(
            self._connection(), self.call("GET", BUNDLES)["metadata"]["resourceVersion"], wanted
        )
        started = time.monotonic()
        watcher.start()
        threads = [
            threading.Thread(target=self._create_all, args=(wanted[part::CREATORS],))
            for part in range(CREATORS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return watcher.finished() - started

    def children(self, name: str) -> dict[str, Any]:
        """Read what an object's children ask for, without what differs from run to run."""
        found = {}
        for path in CHILDREN:
            child = self.call("GET", f"{path}/{name}")
            content = {key: value for key, value in child.items() if key not in {"metadata", "status"}}
            for assigned in ("clusterIP", "clusterIPs"):
                content.get("spec", {}).pop(assigned, None)
            [owner] = child["metadata"]["ownerReferences"]
            found[path] = content | {"owner": (owner["kind"], owner["name"], owner["controller"])}
        return found

    def settle(self, quiet_s: float = 3.0) -> None:
        """Wait until nobody has written anything for a while."""
        size, since = -1, time.monotonic()
        while time.monotonic() - since < quiet_s:
            if (now := self._audit.stat().st_size) != size:
                size, since = now, time.monotonic()
            time.sleep(0.2)

    def mark(self) -> int:
        """Give the place in the audit log after which `writes` counts."""
        return self._audit.stat().st_size

    def writes(self, mark: int) -> Counter[str]:
        """Count writes since the mark by user."""
        return Counter(event["user"]["username"] for event in self._events(mark))

    def _events(self, mark: int) -> Iterator[dict[str, Any]]:
        with self._audit.open("rb") as log:
            log.seek(mark)
            yield from map(json.loads, log)

    def _create_all(self, names: list[str]) -> None:
        connection = self._connection()
        for name in names:
            manifest = {
                "apiVersion": "bench.innervate.dev/v1",
                "kind": "Bundle",
                "metadata": {"name": name},
                "spec": {"text": f"The text of {name}."},
            }
            _request(connection, "POST", BUNDLES, manifest)
        connection.close()

    def _served(self, path: str) -> bool:
        connection = self._connection()
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            self.plane.url.removeprefix("https://"), context=self._tls, timeout=600
        )


class _Watcher(threading.Thread):
    """Watches until every named object is Ready in its current generation."""

    def __init__(self, connection: http.client.HTTPSConnection, version: str, names: Iterable[str]) -> None:
        super().__init__(daemon=True)
        self._missing = set(names)
        self._done = threading.Event()
        self._time = 0.0
        connection.request("GET", f"{BUNDLES}?watch=true&resourceVersion={version}")
        self._response = connection.getresponse()

    def run(self) -> None:
        while self._missing:
            event = json.loads(self._response.readline())
            if is_ready(event["object"]):
                self._missing.discard(event["object"]["metadata"]["name"])
        self._time = time.monotonic()
        self._done.set()

    def finished(self) -> float:
        """Wait for the end and give its time."""
        if not self._done.wait(600):
            raise TimeoutError(f"{len(self._missing)} objects were not Ready after 600 s")
        return self._time


def is_ready(bundle: dict[str, Any]) -> bool:
    """Whether a Bundle's status says Ready of its current generation."""
    status, generation = bundle.get("status", {}), bundle["metadata"]["generation"]
    return status.get("observedGeneration") == generation and any(
        each["type"] == "Ready" and each["status"] == "True" and each["observedGeneration"] == generation
        for each in status.get("conditions", [])
    )


def _request(
    connection: http.client.HTTPSConnection, method: str, path: str, body: dict[str, Any] | None
) -> dict[str, Any]:
    data = json.dumps(body).encode() if body is not None else None
    connection.request(method, path, body=data, headers={"Content-Type": "application/json"})
    response = connection.getresponse()
    answer: dict[str, Any] = json.loads(response.read())
    if response.status >= http.HTTPStatus.BAD_REQUEST:
        raise RuntimeError(f"{method} {path}: {response.status} {answer.get('message')}")
    return answer


def _client_context(kubeconfig: Path) -> ssl.SSLContext:
    """TLS as the kubeconfig's user; ssl reads client certificates from files only."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    pem = kubeconfig.with_suffix(".pem")
    pem.touch(mode=0o600)
    parts = (base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key"))
    pem.write_bytes(b"\n".join(parts))
    context.load_cert_chain(pem)
    return context
