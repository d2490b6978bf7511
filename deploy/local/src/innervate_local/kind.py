"""A cluster made by kind, where a Docker engine answers."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import yaml

from innervate_local import binaries, kubectl, paths, process, slots, state
from innervate_local.progress import say, step

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_S = 10
_KUBECONFIG = "kind.kubeconfig"
_POOL_LABEL = "innervate.dev/pool"


def engine_answers() -> bool:
    """Tell whether a Docker engine answers: the command alone is not enough."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        asked = subprocess.run(
            [docker, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def configuration() -> str:
    """Render kind's configuration: two nodes, labelled like those of a cluster on the machine."""
    return yaml.safe_dump(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "nodes": [
                {"role": "control-plane", "labels": {_POOL_LABEL: "cpu"}},
                {"role": "worker", "labels": {_POOL_LABEL: "edge"}},
            ],
        },
        sort_keys=False,
    )


def names() -> list[str]:
    """List the clusters that were made here by kind."""
    return sorted(file.parent.name for file in paths.state().glob(f"clusters/*/{_KUBECONFIG}"))


class KindCluster:
    """A cluster of containers.

    Parameters
    ----------
    name
        Its name, to kind too.
    """

    def __init__(self, name: str) -> None:
        self.name = slots.check_name(name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; the user's own file is not touched."""
        return state.directory(self.name) / _KUBECONFIG

    def up(self) -> None:
        """Create the cluster, unless kind knows it already.

        Raises
        ------
        LocalError
            When kind fails.
        """
        with state.locked(self.name):
            self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            if self.name in self._kind("get", "clusters").split():
                self._kind("export", "kubeconfig", *self._which)
                say(f"cluster {self.name} is up (kind)")
                return
            with step(f"creating cluster {self.name} with kind"):
                self._kind(
                    *("create", "cluster", *self._which, "--config", "-", "--wait", "120s"),
                    stdin=configuration(),
                )

    def down(self) -> None:
        """Delete the cluster.

        Raises
        ------
        LocalError
            When kind fails.
        """
        with state.locked(self.name), step(f"removing cluster {self.name}"):
            self._kind("delete", "cluster", *self._which)
            shutil.rmtree(state.directory(self.name), ignore_errors=True)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator; see `innervate_local.kubectl.run`."""
        return kubectl.run(self.kubeconfig, *arguments, stdin=stdin)

    def status(self) -> str:
        """Describe its nodes."""
        return self.kubectl("get", "nodes", "--output=wide")

    def load(self, *archives: Path) -> None:
        """Load image archives into every node.

        Parameters
        ----------
        archives
            OCI or Docker archives.

        Raises
        ------
        LocalError
            When kind refuses one.
        """
        for archive in archives:
            self._kind("load", "image-archive", str(archive), "--name", self.name)

    def cut_edge(self) -> None:
        """Cut the worker's link."""
        self._on_edge("ip", "link", "set", "eth0", "down")

    def heal_edge(self) -> None:
        """Join the worker's link again, and give it back the route that went with it."""
        gateways = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
        gateway = process.run(["docker", "inspect", "--format", gateways, self._edge]).strip()
        self._on_edge("ip", "link", "set", "eth0", "up")
        self._on_edge("ip", "route", "replace", "default", "via", gateway)

    @property
    def _which(self) -> tuple[str, ...]:
        return ("--name", self.name, "--kubeconfig", str(self.kubeconfig))

    @property
    def _edge(self) -> str:
        return f"{self.name}-worker"

    def _on_edge(self, *command: str) -> None:
        process.run(["docker", "exec", self._edge, *command])

    def _kind(self, *arguments: str, stdin: str | None = None) -> str:
        command = shutil.which("kind") or str(binaries.path("kind"))
        return process.run([command, *arguments], stdin=stdin)
