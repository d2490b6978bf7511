"""Control groups: where a cluster's processes live, and how all of them are found again.

Everything a cluster runs, the containers of its pods and the shims that hold
them included, is somewhere below the cluster's own group. Ending a cluster is
therefore ending what that group holds: complete, whatever has lost its parent,
and never anybody else's process.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from innervate_local.errors import LocalError

_END_S = 20.0
_DELEGATED = {"cpu", "cpuset", "hugetlb", "io", "memory", "pids"}
"""The v2 controllers a kubelet uses."""


class Hierarchy(NamedTuple):
    """One mounted tree of control groups."""

    root: Path
    unified: bool
    """True for cgroup v2."""


def hierarchies() -> list[Hierarchy]:
    """List the mounted trees: one in pure v2, one for each controller in v1."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in {"cgroup", "cgroup2"}:
            found.append(Hierarchy(Path(target), kind == "cgroup2"))
    return found


def active() -> list[Hierarchy]:
    """List the trees that have controllers to offer.

    Where v1 trees are mounted, the v2 tree beside them has no controllers.
    """
    legacy = [each for each in hierarchies() if not each.unified]
    return legacy or hierarchies()


def create(group: str) -> None:
    """Make a group, and those above it, in every active tree.

    Parameters
    ----------
    group
        Relative to the root, for instance ``innervate-demo/core``.
    """
    for hierarchy in active():
        path = hierarchy.root
        for part in group.split("/"):
            if hierarchy.unified:
                _delegate(path)
            path /= part
            path.mkdir(exist_ok=True)
            # A new v1 cpuset is empty and takes no process until it is filled.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if not hierarchy.unified and (path / setting).exists():
                    (path / setting).write_text((path.parent / setting).read_text())


def joining(group: str) -> tuple[str, ...]:
    """Give the command prefix that moves itself into a group and becomes the rest.

    Parameters
    ----------
    group
        An existing group.
    """
    files = " ".join(shlex.quote(str(each.root / group / "cgroup.procs")) for each in active())
    return ("sh", "-c", f'for f in {files}; do echo $$ >"$f" || exit 1; done; exec "$@"', "sh")


def processes(group: str) -> set[int]:
    """List the processes in a group and below it, in whichever tree."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for file in (hierarchy.root / group).rglob("cgroup.procs"):
            with suppress(OSError):  # a group may go while it is read
                found.update(map(int, file.read_text().split()))
    return found


def end(group: str) -> None:
    """Kill everything in a group and below it, and remove the group.

    Parameters
    ----------
    group
        Need not exist.

    Raises
    ------
    LocalError
        When something in it cannot be killed.
    """
    deadline = time.monotonic() + _END_S
    # Again and again: what is killed may have started something meanwhile.
    while remaining := processes(group):
        if time.monotonic() > deadline:
            raise LocalError(f"these processes of {group} do not end: {sorted(remaining)}")
        for pid in remaining:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for hierarchy in hierarchies():
        root = hierarchy.root / group
        deepest_first = sorted(root.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
        for path in [*deepest_first, root]:
            if path.is_dir():
                _remove(path, deadline)


def _remove(path: Path, deadline: float) -> None:
    while True:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            # Busy for a moment after its last process has ended.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _delegate(path: Path) -> None:
    """Offer a v2 group's controllers to the groups below it."""
    offered = (path / "cgroup.controllers").read_text().split()
    enabled = (path / "cgroup.subtree_control").read_text().split()
    for controller in _DELEGATED & set(offered) - set(enabled):
        (path / "cgroup.subtree_control").write_text(f"+{controller}")
