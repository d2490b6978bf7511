"""One node's containerd: its own root, state, socket and pod network."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import binaries, oci
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence

PAUSE_IMAGE = f"innervate.local/pause:{binaries.CATALOG['pause'].version}"
"""What holds a pod's namespaces open; a name with a dot is never sent to a public registry."""
_READY_S = 30.0
_PLUGIN_DIRECTORIES = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_STATE_OF_TASKS = "io.containerd.runtime.v2.task"
_CNI_RESULTS = Path("/var/lib/cni/results")


def configuration(*, root: Path, state: Path, socket: Path, networks: Path, plugins: Path) -> str:
    """Render containerd's configuration.

    Parameters
    ----------
    root
        What outlives a restart: images and snapshots.
    state
        What does not.
    socket
        Where it listens.
    networks
        The directory of the pod network's configuration.
    plugins
        The directory of the CNI plugins.
    """
    quoted = {key: _toml(value) for key, value in locals().items()}
    return f"""version = 2
root = {quoted["root"]}
state = {quoted["state"]}
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = {quoted["socket"]}

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Where the machine withholds CAP_SYS_RESOURCE no sandbox starts without it.
restrict_oom_score_adj = true
# Pods' network namespaces stay below this node's state and go with it.
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = {quoted["plugins"]}
conf_dir = {quoted["networks"]}
"""


def pod_network(*, name: str, subnet: str, leases: Path) -> str:
    """Render the CNI configuration of a node's pods.

    Parameters
    ----------
    name
        The network's name, unlike every other on the machine.
    subnet
        The addresses of this node's pods.
    leases
        Where it is kept which addresses are given.
    """
    return json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": name,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": True,
                    "hairpinMode": True,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": subnet}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                        "dataDir": str(leases),
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        },
        indent=2,
    )


def plugin_directory() -> Path:
    """Find the CNI plugins.

    Raises
    ------
    LocalError
        When they are not installed.
    """
    for candidate in map(Path, _PLUGIN_DIRECTORIES):
        if (candidate / "bridge").exists():
            return candidate
    raise LocalError(f"no CNI plugins in any of {', '.join(_PLUGIN_DIRECTORIES)}")


def await_ready(socket: Path) -> None:
    """Wait until a containerd answers.

    Raises
    ------
    LocalError
        When it does not within half a minute.
    """
    deadline = time.monotonic() + _READY_S
    while _ctr(socket, "version").returncode != 0:
        if time.monotonic() > deadline:
            raise LocalError(f"containerd does not answer at {socket}")
        time.sleep(0.1)


def load(socket: Path, archive: Path) -> None:
    """Import an OCI or Docker archive for Kubernetes to use.

    Parameters
    ----------
    socket
        The node's containerd.
    archive
        The image archive.

    Raises
    ------
    LocalError
        When containerd refuses it.
    """
    finished = _ctr(socket, "--namespace", "k8s.io", "images", "import", str(archive))
    if finished.returncode != 0:
        raise LocalError(f"containerd does not take {archive}: {finished.stderr.strip()}")


def pause_archive(directory: Path) -> Path:
    """Write the pause image's archive into a directory; give its path."""
    return oci.write_image(
        directory / "pause.tar",
        reference=PAUSE_IMAGE,
        files={"pause": binaries.path("pause")},
        entrypoint=["/pause"],
    )


def leftovers(state: Path, *, network: str) -> list[Path]:
    """List what the pods of an ended containerd leave outside its directories.

    These are the sockets of their shims and what CNI remembers of them.

    Parameters
    ----------
    state
        The containerd's state directory.
    network
        The name of the pods' network.
    """
    # By network too: the state does not survive a boot, what CNI remembers does.
    mine = re.compile(rf"{re.escape(network)}-[0-9a-f]+-\w+")
    found = [each for each in _CNI_RESULTS.glob(f"{network}-*") if mine.fullmatch(each.name)]
    for task in (state / _STATE_OF_TASKS).glob("*/*"):
        found += _CNI_RESULTS.glob(f"cni-loopback-{task.name}-lo")
        if (task / "address").exists():
            found.append(Path((task / "address").read_text().strip().removeprefix("unix://")))
    return found


def _toml(path: Path) -> str:
    """Quote a path: JSON's way but for surrogate pairs, which TOML has not, and DEL, which it forbids."""
    return json.dumps(str(path), ensure_ascii=False).replace("\x7f", "\\u007f")


def _ctr(socket: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = ("ctr", "--address", str(socket), *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False)
