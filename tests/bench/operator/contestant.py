"""The two operators as programs: how each is started, what it uses, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_local import paths, toolchain

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
LOOK_S = 3.0
"""Either standby looks at the lease every two seconds."""


class Use(NamedTuple):
    """What a process has used since it started."""

    peak_mebibytes: float
    """Most memory it ever held, of itself alone."""
    cpu_seconds: float


class Contestant(NamedTuple):
    """One of the two operators."""

    name: str
    command: Sequence[str]
    """Its program; a kubeconfig and a resync time in seconds are appended."""
    following: str
    """What its log says once it is up, whether it leads or stands by."""

    def start(self, kubeconfig: Path, log: Path, *, resync_s: int = 36_000) -> Operator:
        """Start one replica of it."""
        return Operator([*self.command, str(kubeconfig), str(resync_s)], log, self.following)


class Operator:
    """One running replica."""

    def __init__(self, command: Sequence[str], log: Path, following: str) -> None:
        self._log = log
        self._following = following.encode()
        with log.open("ab") as output:
            self._began = output.tell()
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def await_following(self) -> None:
        """Wait until it is up, and has had time to look at the lease.

        Raises
        ------
        RuntimeError
            When it has ended.
        """
        while self._following not in self._log.read_bytes()[self._began :]:
            self._must_run()
            time.sleep(0.1)
        time.sleep(LOOK_S)

    def use(self) -> Use:
        """Read what it has used so far.

        Raises
        ------
        RuntimeError
            When it has ended.
        """
        self._must_run()
        proc = Path("/proc") / str(self._process.pid)
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
        )
        # The command name, in parentheses, may hold spaces; fields 14 and 15 are user and system ticks.
        fields = (proc / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        return Use(int(status["VmHWM"].split()[0]) / 1024, ticks / os.sysconf("SC_CLK_TCK"))

    def _must_run(self) -> None:
        if self._process.poll() is not None:
            words = self._log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the operator ended with {self._process.returncode}:\n{words}")

    def kill(self) -> None:
        """Kill it without a word."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and kill it when it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def ours() -> Contestant:
    """Our runtime with the bench room."""
    return Contestant("innervate", [sys.executable, str(HERE / "ours.py")], '"message": "serving"')


def peer() -> Contestant:
    """The controller-runtime operator, built first where it is missing or its source has changed."""
    target = paths.cache() / "bench" / "peer"
    target.parent.mkdir(parents=True, exist_ok=True)
    go = toolchain.go()
    subprocess.run(
        [str(go), "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), "."],
        cwd=HERE / "peer",
        env=toolchain.environment(go),
        check=True,
    )
    return Contestant("controller-runtime", [str(target)], "attempting to acquire leader lease")
