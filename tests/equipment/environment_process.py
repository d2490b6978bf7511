"""Environment servers in processes of their own, and the scorer that they ask."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from innervate_environments.local import LocalServer

HERE = Path(__file__).resolve().parent
SECONDS = 60.0
"""Patience for what takes far less."""


@contextmanager
def environment_server(
    identifier: str, *, scorer: Path | None = None, options: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[LocalServer]:
    """Serve an environment of Gymnasium, or of `practice_environments`."""
    source = {"gymnasium": {"id": identifier, "options": dict(options or {})}}
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    server = LocalServer({"source": source} | settings, scorer=scorer)
    with patch.dict(os.environ, {"PYTHONPATH": path}):
        server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def scoring_service(socket: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the evaluator's scorer as the next container does."""
    process = subprocess.Popen([sys.executable, "-m", "innervate_evaluator.scorer", "--socket", str(socket)])
    try:
        until = time.monotonic() + SECONDS
        while not socket.exists():
            assert process.poll() is None, "the scorer ended"
            assert time.monotonic() < until, "the scorer does not serve"
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they started."""
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def gone(pid: int) -> bool:
    """Whether a process ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True
