"""A named cluster on this machine: control plane, two nodes, addons.

Whatever it made is found again by what was recorded when it was made or by the
cluster's name: `down` and the cleaning before `up` need nothing else.
"""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_local import (
    addons,
    audit,
    binaries,
    cgroups,
    containerd,
    kubectl,
    mounts,
    network,
    packages,
    preflight,
    process,
    slots,
    state,
)
from innervate_local.control_plane import ControlPlane, Ports
from innervate_local.errors import LocalError
from innervate_local.node import RUN, Node
from innervate_local.progress import say, step
from innervate_local.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_NAME = "innervate"
API_PORT = 6443
_ANSWER_S = 30
_NODES = (("core", "cpu"), ("edge", "edge"))
"""Name and pool of each node, the one that can be cut off last."""


class _Marks(NamedTuple):
    """What a cluster notes beside its sockets: enough to remove it when its own directory is lost."""

    directory: Path

    def write(self, owner: Path, slot: Slot) -> None:
        self.directory.mkdir(parents=True)
        (self.directory / "owner").write_text(str(owner))
        (self.directory / "slot").write_text(str(slot.number))

    def owner(self) -> Path | None:
        file = self.directory / "owner"
        return Path(file.read_text()) if file.exists() else None

    def slot(self) -> Slot | None:
        file = self.directory / "slot"
        return Slot(int(file.read_text())) if file.exists() else None


class Cluster:
    """A cluster, whether it runs or not.

    Parameters
    ----------
    name
        Its name; tests use another one than people.

    Raises
    ------
    LocalError
        When that cannot be a name.
    """

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        self.name = slots.check_name(name)
        self._recording = threading.Lock()

    @property
    def directory(self) -> Path:
        """Everything the cluster keeps, save sockets."""
        return state.directory(self.name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, once the cluster is up."""
        return self.directory / "control-plane" / "kubeconfig"

    def writes(self, user: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what a user wrote so far; see `innervate_local.audit.writes`."""
        return audit.writes(self.directory / "audit", user=user, namespace=namespace)

    @property
    def slot(self) -> Slot:
        """The addresses and link names it holds.

        Raises
        ------
        LocalError
            When it is not up.
        """
        known = state.read(self.name)
        if known is None:
            raise LocalError(f"there is no cluster {self.name!r} here; bring it up first")
        return Slot(known.slot)

    @property
    def nodes(self) -> list[Node]:
        """Its nodes, in the order of their indices; the last is the edge."""
        return self._nodes(self.slot)

    def _nodes(self, slot: Slot) -> list[Node]:
        return [
            Node(
                cluster=self.name,
                name=name,
                pool=pool,
                index=index,
                slot=slot,
                directory=self.directory / "nodes" / name,
                record=self._record,
            )
            for index, (name, pool) in enumerate(_NODES, start=1)
        ]

    @property
    def edge(self) -> Node:
        """The node that can be cut off."""
        return self.nodes[-1]

    def up(self) -> None:
        """Bring the cluster up; a cluster that is up is left alone.

        What an earlier, crashed cluster of the name left is removed first.

        Raises
        ------
        LocalError
            When this machine cannot, or a component does not start.
        """
        with state.locked(self.name):
            if self.is_up():
                say(f"cluster {self.name} is up")
                return
            if ended := [name for name, runs in self._running().items() if not runs]:
                say(f"cluster {self.name} starts anew: {', '.join(ended)} ended")
            elif state.read(self.name):
                say(f"cluster {self.name} starts anew: it did not come up to its end, or does not answer")
            preflight.require()
            packages.ensure(*packages.NODE)
            for binary in ("etcd", "kubernetes", "pause"):
                binaries.path(binary)
            self._remove()
            try:
                with step(f"starting cluster {self.name}"):
                    self._start()
                addons.install(self)
            except LocalError as error:
                # Left as it is, to be looked at: the next `up` or `down` removes it.
                raise LocalError(f"{error}\nThe logs are below {self.directory}") from error
            known = state.read(self.name)
            if known is None:
                raise LocalError(f"the state of cluster {self.name} was removed meanwhile")
            known.ready = True
            state.write(self.name, known)

    def down(self) -> None:
        """Remove the cluster: processes, mounts, namespaces, links, groups and data."""
        with state.locked(self.name), step(f"removing cluster {self.name}"):
            self._remove()

    def is_up(self) -> bool:
        """Tell whether `up` came to its end, everything it started still runs, and the API server answers.

        An API server whose machine is busy is not ready for moments: it is asked again for a while.
        """
        known = state.read(self.name)
        deadline = time.monotonic() + _ANSWER_S
        while known and known.ready and all(self._running().values()):
            if kubectl.attempt(self.kubeconfig, "get", "--raw", "/readyz").returncode == 0:
                return True
            if time.monotonic() > deadline:
                break
            time.sleep(1)
        return False

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator.

        Parameters
        ----------
        arguments
            For instance ``"apply", "-f", "-"``.
        stdin
            What it reads.

        Returns
        -------
        str
            What it printed.

        Raises
        ------
        LocalError
            When it fails; the message holds what it said.
        """
        return kubectl.run(self.kubeconfig, *arguments, stdin=stdin)

    def load(self, *archives: Path) -> None:
        """Import image archives into every node.

        Parameters
        ----------
        archives
            OCI or Docker archives.

        Raises
        ------
        LocalError
            When a node refuses one.
        """
        nodes = self.nodes
        with ThreadPoolExecutor(len(nodes)) as pool:
            for archive in archives:
                list(pool.map(lambda node, archive=archive: node.load(archive), nodes))

    def status(self) -> str:
        """Describe its components and nodes.

        Raises
        ------
        LocalError
            When there is no such cluster.
        """
        lines = [f"cluster {self.name}, slot {self.slot.number}, {self.directory}"]
        for component, runs in self._running().items():
            lines.append(f"  {component:<26} {'running' if runs else 'ended'}")
        link = "joined" if self.edge.is_linked() else "cut"
        lines.append(f"  {'link of the edge node':<26} {link}")
        asked = kubectl.attempt(self.kubeconfig, "get", "nodes", "--output=wide")
        return "\n".join([*lines, asked.stdout or asked.stderr])

    def cut_edge(self) -> None:
        """Cut the edge node's link: a real loss of communications, its pods go on."""
        self.edge.cut()

    def heal_edge(self) -> None:
        """Join the edge node's link again."""
        self.edge.heal()

    def _start(self) -> None:
        # Clusters kept in other state directories see a slot taken by its bridge only.
        with state.locked("innervate-slots.lock", within=RUN.parent):
            slot = state.claim_slot(self.name, in_use=network.is_in_use)
            _Marks(RUN / self.name).write(self.directory, slot)
            network.create_bridge(slot)
        nodes = self.nodes
        for node in nodes:
            node.connect()
        network.connect_pods(slot, namespaces=[node.namespace for node in nodes])
        pause = containerd.pause_archive(self.directory)
        with ThreadPoolExecutor(len(nodes) + 1) as pool:
            starting = pool.submit(self._start_control_plane, slot)
            for each in [pool.submit(node.start_containerd, pause) for node in nodes]:
                each.result()
            plane = starting.result()
        for node in nodes:
            node.join(plane)
        for node in nodes:
            # One at a time: kubectl waits for a single object to appear, not for several.
            for condition in ("create", "condition=Ready"):
                self.kubectl("wait", f"--for={condition}", f"node/{node.name}", "--timeout=60s")

    def _start_control_plane(self, slot: Slot) -> ControlPlane:
        group = f"{self._group}/control-plane"
        cgroups.create(group)
        plane = ControlPlane(
            self.directory / "control-plane",
            name=self.name,
            controller_manager=True,
            scheduler=True,
            ports=Ports.free()._replace(api=API_PORT),
            address=slot.gateway,
            service_cidr=slot.service_cidr,
            detached=True,
            prefix=cgroups.joining(group),
            api_server_flags=audit.flags(self.directory / "audit"),
        ).start()
        for component, identity in plane.processes.items():
            self._record(component, identity)
        return plane

    def _remove(self) -> None:
        marks = _Marks(RUN / self.name)
        if (owner := marks.owner()) and owner != self.directory and (owner / "state.json").exists():
            raise LocalError(f"a cluster {self.name!r} is already here, kept in {owner}")
        cgroups.end(self._group)
        known = state.read(self.name)
        slot = Slot(known.slot) if known else marks.slot()
        if slot:
            nodes = self._nodes(slot)
            for node in nodes:
                node.forget()
            network.remove(slot, nodes=len(nodes))
        for directory in (marks.directory, self.directory):
            mounts.remove_below(directory)
            if directory.exists():
                shutil.rmtree(directory)

    def _running(self) -> dict[str, bool]:
        """Tell of each component that was started whether it runs."""
        known = state.read(self.name)
        processes = known.processes if known else {}
        return {component: process.is_running(identity) for component, identity in processes.items()}

    @property
    def _group(self) -> str:
        return f"innervate-{self.name}"

    def _record(self, component: str, identity: process.Identity) -> None:
        with self._recording:
            known = state.read(self.name)
            if known is None:
                raise LocalError(f"the state of cluster {self.name} was removed meanwhile")
            known.processes[component] = identity
            state.write(self.name, known)
