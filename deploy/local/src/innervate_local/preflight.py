"""Say exactly what this machine lacks to carry a cluster, and what to do instead."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from innervate_local import cgroups, packages, paths
from innervate_local.errors import LocalError

_CAPABILITIES = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN", 19: "CAP_SYS_PTRACE"}
_CONTROLLERS = ("cpu", "cpuset", "memory", "pids")
_MINIMUM_MEMORY = 3 * 2**30
_MINIMUM_DISK = 12 * 2**30
_SOCKET_LENGTH = 64
"""Longest state directory, in characters, below which sockets still have room for their names."""
_ALTERNATIVES = """What else would do:
  - a Docker engine: then the cluster is made with kind
  - a cluster you have: name its context with --context or INNERVATE_CONTEXT"""


def problems() -> list[str]:
    """List what stands in the way, each with what would help; nothing means ready."""
    if platform.system() != "Linux":
        return [f"a cluster on the machine itself needs Linux; this is {platform.system()}"]
    found = []
    if os.geteuid() != 0:
        found.append("root is needed to make namespaces, links and mounts: run it with sudo -E")
    else:
        found += _kernel_problems()
    if (lacking := packages.missing(*packages.NODE)) and not packages.can_install():
        found.append(f"these are missing and not installed by apt-get here: {', '.join(lacking)}")
    return found + _room_problems()


def require() -> None:
    """Refuse a machine that cannot carry a cluster.

    Raises
    ------
    LocalError
        With every problem, and the alternatives.
    """
    if found := problems():
        listed = "\n".join(f"  - {each}" for each in found)
        raise LocalError(f"This machine cannot carry a cluster:\n{listed}\n{_ALTERNATIVES}")


def _kernel_problems() -> list[str]:
    found = []
    held = _capabilities()
    if lacking := [name for number, name in _CAPABILITIES.items() if not held >> number & 1]:
        found.append(f"root here lacks {', '.join(lacking)}: a container needs to be privileged")
    available = controllers()
    if lacking := [each for each in _CONTROLLERS if each not in available]:
        found.append(f"no control group controllers for {', '.join(lacking)}: mount /sys/fs/cgroup")
    elif not os.access(cgroups.active()[0].root, os.W_OK):
        found.append(f"{cgroups.active()[0].root} is not writable")
    if "overlay" not in Path("/proc/filesystems").read_text() and not _module("overlay"):
        found.append("the kernel has no overlay file system: modprobe overlay")
    if not Path("/proc/sys/net/bridge").exists() and not _module("br_netfilter"):
        found.append("bridged traffic does not pass iptables: modprobe br_netfilter")
    return found


def controllers() -> set[str]:
    """List the control group controllers that are mounted, v1 or v2."""
    found: set[str] = set()
    for hierarchy in cgroups.active():
        if hierarchy.unified:
            found.update((hierarchy.root / "cgroup.controllers").read_text().split())
        else:
            found.update(hierarchy.root.name.split(","))
    return found


def _room_problems() -> list[str]:
    found = []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory < _MINIMUM_MEMORY:
        found.append(f"{memory / 2**30:.1f} GiB of memory; {_MINIMUM_MEMORY / 2**30:.0f} are needed")
    for directory in {paths.cache(), paths.state()}:
        existing = next(each for each in (directory, *directory.parents) if each.exists())
        free = shutil.disk_usage(existing).free
        if free < _MINIMUM_DISK:
            need = f"{_MINIMUM_DISK / 2**30:.0f} are needed"
            found.append(f"{free / 2**30:.1f} GiB free at {existing}; {need}")
    if len(str(paths.state())) > _SOCKET_LENGTH:
        found.append(f"{paths.state()} is too long a path for sockets: set XDG_STATE_HOME to a shorter one")
    return found


def _capabilities() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _module(name: str) -> bool:
    modprobe = shutil.which("modprobe", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if modprobe is None:
        return False
    return subprocess.run([modprobe, name], capture_output=True, check=False).returncode == 0
