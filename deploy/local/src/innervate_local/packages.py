"""Debian packages the cluster needs, installed when missing and never left running as services."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import paths
from innervate_local.errors import LocalError
from innervate_local.progress import step

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVIDES: dict[str, str] = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "g++": "g++",
    "iproute2": "ip",
    "ipset": "ipset",
    "iptables": "iptables-save",
    "mmdebstrap": "mmdebstrap",
    "prometheus": "prometheus",
    "redis-server": "redis-server",
    "runc": "runc",
    "socat": "socat",
    "util-linux": "nsenter",
    "wrk": "wrk",
}
"""Package to a command, or file, that is there once it is installed."""

NODE = (
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "iproute2",
    "ipset",
    "iptables",
    "runc",
    "socat",
)
"""What a node needs."""

_SERVICES = {"containerd": "containerd", "prometheus": "prometheus", "redis-server": "redis-server"}
"""Packages whose installation would start a system service."""
_POLICY = Path("/usr/sbin/policy-rc.d")
_REFUSE = "#!/bin/sh\nexit 101\n"
"""Debian's way to say that no service may be started by a package."""
_LOCK_S = 300
"""How long, in seconds, to wait for another package manager."""


def missing(*wanted: str) -> list[str]:
    """List the packages of which the machine lacks what they provide.

    Parameters
    ----------
    wanted
        Names in `PROVIDES`.
    """
    return [name for name in wanted if not _is_there(PROVIDES[name])]


def can_install() -> bool:
    """Tell whether `ensure` is able to install anything on this machine."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def ensure(*wanted: str) -> None:
    """Install the packages that are missing.

    Parameters
    ----------
    wanted
        Names in `PROVIDES`.

    Raises
    ------
    LocalError
        When something is missing and cannot be installed.
    """
    if not missing(*wanted):
        return
    if not can_install():
        raise LocalError(
            f"missing: {', '.join(missing(*wanted))}. Install them, or run as root on Debian or Ubuntu."
        )
    lock = paths.cache() / "packages.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if lacking := missing(*wanted):
            _install(lacking)


def _install(lacking: list[str]) -> None:
    with step(f"installing Debian packages: {' '.join(lacking)}"), _services_refused():
        _apt("update", "--quiet")
        _apt("install", "--yes", "--quiet", "--no-install-recommends", *lacking)
    if Path("/run/systemd/system").is_dir():
        for name in lacking:
            if service := _SERVICES.get(name):
                # Refused for now only: without this it would start with the machine.
                subprocess.run(["systemctl", "disable", "--quiet", service], check=False)
    if absent := missing(*lacking):
        raise LocalError(f"installed, but their programs are not to be found: {', '.join(absent)}")


@contextmanager
def _services_refused() -> Iterator[None]:
    """Let no package start a service meanwhile; put back the policy that was there."""
    before = _POLICY.read_bytes() if _POLICY.exists() else None
    mode = _POLICY.stat().st_mode if before is not None else 0
    _POLICY.write_text(_REFUSE)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if before is None:
            _POLICY.unlink()
        else:
            _POLICY.write_bytes(before)
            _POLICY.chmod(mode)


def _apt(*arguments: str) -> None:
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={_LOCK_S}", *arguments]
    deadline = time.monotonic() + _LOCK_S
    while True:
        finished = subprocess.run(
            command,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if finished.returncode == 0:
            return
        # The timeout above covers dpkg's lock, not the one on the package lists.
        if "Could not get lock" not in finished.stdout or time.monotonic() > deadline:
            said = "\n".join(finished.stdout.splitlines()[-15:])
            raise LocalError(f"apt-get {arguments[0]} failed:\n{said}")
        time.sleep(2)


def _is_there(provided: str) -> bool:
    if provided.startswith("/"):
        return Path(provided).exists()
    # Administrators' programs are not on every PATH.
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    return shutil.which(provided, path=search) is not None
