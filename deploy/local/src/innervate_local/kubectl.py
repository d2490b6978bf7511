"""Run the project's own pinned kubectl against a kubeconfig."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from innervate_local import binaries
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path


def attempt(
    kubeconfig: Path | None, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run kubectl, whatever comes of it.

    Parameters
    ----------
    kubeconfig
        Which cluster, and as whom; None for what the user's own environment says.
    arguments
        For instance ``"apply", "-f", "-"``.
    stdin
        What it reads.
    """
    which = () if kubeconfig is None else (f"--kubeconfig={kubeconfig}",)
    return subprocess.run(
        [str(binaries.path("kubernetes")), "kubectl", *which, *arguments],
        input=stdin or "",
        capture_output=True,
        text=True,
        check=False,
    )


def run(kubeconfig: Path | None, *arguments: str, stdin: str | None = None) -> str:
    """Run kubectl; give what it printed.

    Takes what `attempt` takes.

    Raises
    ------
    LocalError
        When it fails; the message holds what it said.
    """
    finished = attempt(kubeconfig, *arguments, stdin=stdin)
    if finished.returncode != 0:
        raise LocalError(f"kubectl {' '.join(arguments)}: {finished.stderr.strip()}")
    return finished.stdout
