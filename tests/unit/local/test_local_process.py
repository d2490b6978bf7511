"""Processes are known for certain, and ended for certain."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest
from innervate_local import process
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""


def known(child: subprocess.Popen[bytes]) -> process.Identity:
    identity = process.identify(child.pid)
    assert identity
    return identity


def test_a_number_alone_is_not_a_process() -> None:
    myself = process.identify(os.getpid())
    assert myself
    assert process.is_running(myself)
    assert not process.is_running(myself._replace(started=myself.started + 1))
    assert not process.is_running(myself._replace(boot="another"))


def test_an_uncollected_process_has_ended(tmp_path: Path) -> None:
    child = process.start(["true"], log=tmp_path / "log", dies_with_parent=True)
    while process.identify(child.pid):
        time.sleep(0.01)
    assert child.wait() == 0


def test_stop_asks_first_and_kills_what_does_not_listen(tmp_path: Path) -> None:
    log = tmp_path / "log"
    polite = process.start(["sleep", "600"], log=tmp_path / "polite", dies_with_parent=True)
    deaf = process.start([sys.executable, "-c", DEAF], log=log, dies_with_parent=True)
    while "deaf" not in log.read_text():
        time.sleep(0.01)
    process.stop([known(polite), known(deaf)], grace_s=0.2)
    assert polite.wait() == -15
    assert deaf.wait() == -9


def test_stop_passes_over_a_later_holder_of_the_number(tmp_path: Path) -> None:
    child = process.start(["sleep", "600"], log=tmp_path / "log", dies_with_parent=True)
    identity = known(child)
    process.stop([identity._replace(started=identity.started - 1)])
    assert process.is_running(identity)
    process.stop([identity])
    assert child.wait() == -15


def test_a_failed_run_says_what_was_said() -> None:
    with pytest.raises(LocalError, match="ended with 3: because"):
        process.run(["sh", "-c", "echo because >&2; exit 3"])
