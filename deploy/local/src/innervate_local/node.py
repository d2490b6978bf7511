"""One node of a cluster: containerd, kubelet and kube-proxy in a network namespace of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import binaries, cgroups, containerd, kubelet, network, process
from innervate_local.errors import LocalError
from innervate_local.images import roots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from innervate_local.control_plane import ControlPlane
    from innervate_local.slots import Slot

RUN = Path("/run/innervate")
"""Sockets and other state that does not outlive the machine's boot."""
POOL_LABEL = "innervate.dev/pool"


class Node:
    """A node, whether it runs or not.

    Parameters
    ----------
    cluster
        The cluster's name.
    name
        The node's name in the cluster.
    pool
        The value of its pool label, for ComputePools to select.
    index
        Its number in the cluster, from 1.
    slot
        The cluster's slot.
    directory
        Where the node keeps what it keeps.
    record
        Called with each process the node starts.
    """

    def __init__(
        self,
        *,
        cluster: str,
        name: str,
        pool: str,
        index: int,
        slot: Slot,
        directory: Path,
        record: Callable[[str, process.Identity], None],
    ) -> None:
        self.name = name
        self.pool = pool
        self.index = index
        self.slot = slot
        self.directory = directory
        self.run_directory = RUN / cluster / name
        self.namespace = self.run_directory / "network"
        """The file that stands for its network namespace."""
        self.pod_network = f"innervate-{cluster}-{name}"
        """What CNI calls the network of its pods."""
        self.group = f"innervate-{cluster}/{name}"
        """Its control group."""
        self._record = record

    @property
    def address(self) -> str:
        """Its address."""
        return self.slot.node_address(self.index)

    @property
    def pod_cidr(self) -> str:
        """The addresses of its pods."""
        return self.slot.node_pod_cidr(self.index)

    @property
    def storage(self) -> Path:
        """A directory for the data of volumes on this node."""
        return self.directory / "storage"

    @property
    def containerd_socket(self) -> Path:
        """Where its containerd listens."""
        return self.run_directory / "containerd.sock"

    @property
    def _containerd_state(self) -> Path:
        return self.run_directory / "containerd"

    def command(self, *command: str) -> list[str]:
        """Give the command line that runs a command in the node's network namespace."""
        return [*network.entering(self.namespace), *command]

    def spawn(self, component: str, command: Sequence[str]) -> process.Identity:
        """Start a program of the node: in its network namespace, ended and logged with it.

        Parameters
        ----------
        component
            What to call it in logs and status.
        command
            The program and its arguments.

        Raises
        ------
        LocalError
            When it ends at once.
        """
        log = self.directory / "logs" / f"{component}.log"
        child = process.start(
            command,
            log=log,
            prefix=[*cgroups.joining(self._daemons), *network.entering(self.namespace)],
            dies_with_parent=False,
        )
        identity = process.identify(child.pid)
        if identity is None:
            raise LocalError(f"{component} of node {self.name} ended at once; see {log}")
        self._record(f"{self.name}/{component}", identity)
        return identity

    def connect(self) -> None:
        """Make the node's network namespace and link it to the cluster's bridge."""
        self.run_directory.mkdir(parents=True)
        network.create_node(self.slot, namespace=self.namespace, index=self.index)

    def start_containerd(self, pause: Path) -> None:
        """Start containerd in the node's own group and give it the pause image.

        Parameters
        ----------
        pause
            The pause image's archive.
        """
        for group in (self.group, self._daemons):
            cgroups.create(group)
        networks = self.directory / "cni"
        for made in (self.storage, networks):
            made.mkdir(parents=True)
        (networks / "10-pods.conflist").write_text(
            containerd.pod_network(
                name=self.pod_network, subnet=self.pod_cidr, leases=self.run_directory / "addresses"
            )
        )
        root = self.directory / "containerd"
        roots.seed(root)
        settings = self.directory / "containerd.toml"
        settings.write_text(
            containerd.configuration(
                root=root,
                state=self._containerd_state,
                socket=self.containerd_socket,
                networks=networks,
                plugins=containerd.plugin_directory(),
            )
        )
        self.spawn("containerd", ["containerd", "--config", str(settings), "--log-level", "warn"])
        containerd.await_ready(self.containerd_socket)
        self.load(pause)

    def join(self, plane: ControlPlane) -> None:
        """Start kubelet and kube-proxy.

        Parameters
        ----------
        plane
            The control plane to join; it runs.
        """
        identity = plane.kubeconfig_for(f"system:node:{self.name}", groups=["system:nodes"])
        serving = plane.authority.issue(f"system:node:{self.name}", addresses=[self.name, self.address])
        kubelet_settings = self.directory / "kubelet.yaml"
        kubelet_settings.write_text(
            kubelet.kubelet_configuration(
                directory=self.directory,
                group=self.group,
                address=self.address,
                dns_address=self.slot.dns_address,
                root_certificate=plane.ca,
                serving=serving.write(self.directory, "kubelet"),
                containerd_socket=self.containerd_socket,
            )
        )
        kubernetes = str(binaries.path("kubernetes"))
        self.spawn(
            "kubelet",
            [
                *(kubernetes, "kubelet", f"--config={kubelet_settings}", f"--kubeconfig={identity}"),
                *(f"--hostname-override={self.name}", f"--node-ip={self.address}"),
                *(f"--node-labels={POOL_LABEL}={self.pool}", f"--root-dir={self.directory / 'kubelet'}"),
            ],
        )
        proxy_settings = self.directory / "kube-proxy.yaml"
        proxy_settings.write_text(
            kubelet.proxy_configuration(
                node=self.name,
                address=self.address,
                pod_cidr=self.slot.pod_cidr,
                kubeconfig=plane.kubeconfig_for("system:kube-proxy"),
            )
        )
        self.spawn("kube-proxy", [kubernetes, "kube-proxy", f"--config={proxy_settings}"])

    def load(self, archive: Path) -> None:
        """Import an image archive into the node's containerd."""
        containerd.load(self.containerd_socket, archive)

    def cut(self) -> None:
        """Cut the node's link: a real loss of communications, its pods go on."""
        network.set_link(self.slot, self.index, up=False)

    def heal(self) -> None:
        """Join the node's link again."""
        network.set_link(self.slot, self.index, up=True)

    def is_linked(self) -> bool:
        """Tell whether the node's link is joined."""
        return network.is_link_up(self.slot, self.index)

    def leftovers(self) -> list[Path]:
        """List what its pods have outside its own directories."""
        return containerd.leftovers(self._containerd_state, network=self.pod_network)

    def forget(self) -> None:
        """Remove what an ended node leaves outside its own directories."""
        for left in self.leftovers():
            left.unlink(missing_ok=True)
        for link in Path("/var/log/containers").glob("*.log"):
            if link.is_symlink() and link.readlink().is_relative_to(self.directory):
                link.unlink()

    @property
    def _daemons(self) -> str:
        return f"{self.group}/daemons"
