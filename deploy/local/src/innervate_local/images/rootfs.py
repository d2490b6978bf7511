"""Root file systems from Debian packages: what the images of this machine start from."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import packages as hostpackages
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITE = "bookworm"
"""The Debian release; its Python is `PYTHON`."""
PYTHON = (3, 11)
BASE = ("python3", "ca-certificates", "libstdc++6")
"""The packages of the image that all others start from; wheels bring every library but the C++ one."""

_HOST_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
_COMPILE = (
    'chroot "$1" python3 -m compileall -q -f --invalidation-mode unchecked-hash'
    " /usr/lib/python3 /usr/lib/python3.11"
)
_CLEAN = 'rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/var/lib/apt/* "$1"/etc/machine-id'
_OPTIONS = (
    "--variant=essential",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    # Packages compile their Python by modification time, which layers do not keep: compiled
    # again by content, it is valid as it is, and a start neither checks nor compiles.
    f"--customize-hook={_COMPILE}",
    f"--customize-hook={_CLEAN}",
)


def recipe(packages: Sequence[str]) -> str:
    """Digest what decides a root file system's content, the packages' own versions aside."""
    return hashlib.sha256(repr((SUITE, _OPTIONS, tuple(packages))).encode()).hexdigest()


def make(packages: Sequence[str], archive: Path) -> None:
    """Make a root file system from the distribution's packages.

    Parameters
    ----------
    packages
        What it holds beside the essential packages.
    archive
        The tar file to write.

    Raises
    ------
    LocalError
        When ``mmdebstrap`` cannot be had or fails; the message ends with what it said.
    """
    hostpackages.ensure("mmdebstrap")
    sources = [str(_HOST_SOURCES)] if _host_suite() == SUITE and _HOST_SOURCES.is_file() else []
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        made = Path(scratch) / "rootfs.tar"
        include = f"--include={','.join(packages)}"
        finished = subprocess.run(
            ["mmdebstrap", *_OPTIONS, include, SUITE, str(made), *sources],
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if finished.returncode != 0:
            said = "\n".join(finished.stdout.splitlines()[-20:])
            raise LocalError(f"mmdebstrap could not make a root file system:\n{said}")
        made.replace(archive)


def _host_suite() -> str:
    """Give the release this machine runs, whose package sources then fit."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except FileNotFoundError:
        return ""
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values.get("VERSION_CODENAME", "")
