"""An API server of the chart's own: its definitions and cluster roles belong to one release at a time."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from innervate_kinds.registry import ROOMS
from innervate_local import binaries
from innervate_local.control_plane import ControlPlane

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART = Path(__file__).resolve().parents[3] / "charts" / "innervate"
NAMESPACE = "innervate-system"
RELEASE = "innervate"
DEFINITIONS = tuple(sorted(f"{room.kind.plural}.{room.kind.group}" for room in ROOMS))

_UNCACHED = "--watch-cache=false"
"""Definitions are removed after every test.

With caches, the API server refuses its own request for the objects to remove while a cache
begins, begins it anew at each further try, and needs minutes for it on a busy machine.
"""


class Cluster:
    """Helm and kubectl on one API server."""

    def __init__(self, plane: ControlPlane, home: Path) -> None:
        self.plane = plane
        self._home = home

    def helm(self, command: str, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        kinds = ("CACHE", "CONFIG", "DATA")
        environment = os.environ | {f"HELM_{kind}_HOME": str(self._home / kind.lower()) for kind in kinds}
        return self._run(
            [str(binaries.path("helm")), command, *arguments, f"--namespace={NAMESPACE}"],
            {**environment, "KUBECONFIG": str(self.plane.kubeconfig)},
            ok=ok,
        )

    def kubectl(
        self, *arguments: str, stdin: str | None = None, ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = [str(binaries.path("kubernetes")), "kubectl", f"--kubeconfig={self.plane.kubeconfig}"]
        return self._run([*command, *arguments], dict(os.environ), stdin=stdin, ok=ok)

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)
        return found

    def apply(self, manifest: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def install(self, values: dict[str, Any] | None = None, *, chart: Path = CHART) -> None:
        """Install or upgrade."""
        file = self._home / "values.json"
        file.write_text(json.dumps(values or {}))
        self.helm("upgrade", "--install", RELEASE, str(chart), f"--values={file}", "--create-namespace")
        # For a definition whose status is not written yet, kubectl ends with an error instead of waiting.
        created = ("--for=jsonpath={.status.conditions[0].type}", "--timeout=30s")
        self.kubectl("wait", "crd", *DEFINITIONS, *created)
        self.kubectl("wait", "crd", *DEFINITIONS, "--for=condition=Established", "--timeout=30s")

    def _run(self, command, environment, *, stdin=None, ok):
        done = subprocess.run(
            command, env=environment, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not ok, f"{command}: {done.stdout}{done.stderr}"
        return done


class Planes:
    """The API server that tests use one after the other, and a new one where it was not left clean."""

    def __init__(self, directories: pytest.TempPathFactory) -> None:
        self._directories = directories
        self._running: ControlPlane | None = None

    def current(self) -> ControlPlane:
        if self._running is None:
            directory = self._directories.mktemp("chart-api-server")
            self._running = ControlPlane(directory, api_server_flags=[_UNCACHED]).start()
        return self._running

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None


@pytest.fixture(scope="session")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    planes = Planes(tmp_path_factory)
    yield planes
    planes.stop()


@pytest.fixture
def namespaces(cluster: Cluster) -> None:
    """The namespaces that tests of access tell apart."""
    for name in (NAMESPACE, "shop", "lab", "elsewhere"):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


@pytest.fixture
def cluster(planes: Planes, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without Innervate; what a test installs is removed after it, definitions included."""
    made = Cluster(planes.current(), tmp_path)
    yield made
    made.helm("uninstall", RELEASE, "--no-hooks", "--ignore-not-found")
    # A test that failed may have left a finalizer, which holds its definition for ever.
    removed = made.kubectl("delete", "crd", *DEFINITIONS, "--ignore-not-found", "--timeout=60s", ok=False)
    if removed.returncode != 0:
        planes.stop()


@pytest.fixture(scope="session")
def chart() -> Path:
    return CHART
