"""A connection that is cut says nothing: what reads a volume ends all the same, and leaves no kubectl."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest
from innervate import Unavailable, runs
from innervate.kubectl import COMMAND, Kubectl
from kinds_cluster import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

RUN: dict[str, Any] = {
    "metadata": {"namespace": "team", "name": "cartpole"},
    "spec": {"environmentRef": {"name": "pole"}, "algorithm": {"name": "PPO"}},
}
CUT = """
import os, signal, sys, tarfile, io
if "exec" in sys.argv:
    open({pid!r}, "w").write(str(os.getpid()))
    if "innervate_rl.experience" in sys.argv:
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w") as archive:
            entry = tarfile.TarInfo("steps.parquet")
            entry.size = 100_000
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
        sys.stdout.buffer.write(whole.getvalue()[:50_000])
        sys.stdout.buffer.flush()
    while True:
        signal.pause()
"""


@pytest.fixture
def pid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File with the process id of a kubectl whose `exec` never ends; all else of it succeeds."""
    program, file = tmp_path / "kubectl.py", tmp_path / "pid"
    program.write_text(CUT.format(pid=str(file)))
    monkeypatch.setenv(COMMAND, shlex.join([sys.executable, str(program)]))
    return file


def is_gone(pid: Path) -> bool:
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def test_a_report_that_does_not_come_is_an_error(pid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Time enough for the program to begin on a slow machine.
    monkeypatch.setattr(runs, "_READ_S", 5.0)
    with pytest.raises(Unavailable, match="nothing came") as caught:
        runs.page(Kubectl(namespace="team"), RUN, CONFIG)
    assert "kubectl get --raw /readyz" in caught.value.fix
    assert is_gone(pid)


def test_an_export_that_falls_silent_is_an_error(
    pid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_SILENCE_S", 5.0)
    with pytest.raises(Unavailable, match="nothing came") as caught:
        runs.export(Kubectl(namespace="team"), RUN, CONFIG, into=tmp_path / "into", options=())
    assert "kubectl get --raw /readyz" in caught.value.fix
    assert is_gone(pid)


def test_kubectl_does_not_outlive_what_goes_wrong_here(pid: Path, tmp_path: Path) -> None:
    (tmp_path / "into").write_text("a file where a directory is needed")
    with pytest.raises(OSError, match="into"):
        runs.export(Kubectl(namespace="team"), RUN, CONFIG, into=tmp_path / "into", options=())
    assert is_gone(pid)
