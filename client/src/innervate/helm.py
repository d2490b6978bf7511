"""helm as a subprocess, and where our chart is."""

from __future__ import annotations

import os
import shlex
import subprocess
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from innervate.errors import ClusterRefused, InvalidArgument, ToolMissing

if TYPE_CHECKING:
    from innervate.kubectl import Kubectl

COMMAND = "INNERVATE_HELM"
"""Environment variable with another helm to use, with arguments where it needs them."""
RELEASE = "innervate"
_IN_CHECKOUT = Path(__file__).resolve().parents[3] / "charts" / "innervate"


def start(kubectl: Kubectl, *arguments: str) -> subprocess.Popen[str]:
    """Start helm for the cluster that kubectl goes to."""
    options = {"--kube-context": kubectl.context, "--kubeconfig": kubectl.kubeconfig}
    chosen = [f"{option}={value}" for option, value in options.items() if value]
    try:
        return subprocess.Popen(
            [*shlex.split(os.environ.get(COMMAND, "helm")), *arguments, *chosen],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError:
        raise ToolMissing(
            f"{os.environ.get(COMMAND, 'helm')} was not found",
            fix=f"install helm 3 (https://helm.sh/docs/intro/install/) or name it in {COMMAND}",
        ) from None


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end and return what helm printed.

    Raises
    ------
    ClusterRefused
        If it failed, with its words.
    """
    printed, words = process.communicate()
    if process.returncode:
        lines = [line for line in words.strip().splitlines() if not line.startswith("WARNING")]
        raise ClusterRefused("\n".join(lines).removeprefix("Error: ") or "helm failed without a word")
    return printed


def chart(named: str | None) -> str:
    """Path or reference of the chart.

    Parameters
    ----------
    named
        What the user named; None for the chart that comes with this command.

    Raises
    ------
    InvalidArgument
        If none comes with it.
    """
    if named:
        return named
    packaged = resources.files("innervate") / "chart"
    for candidate in (Path(str(packaged)), _IN_CHECKOUT):
        if (candidate / "Chart.yaml").is_file():
            return str(candidate)
    raise InvalidArgument("no chart comes with this command", field="chart", fix="name one: --chart PATH")
