"""Start programs, know them again later, and end them.

A process is known by its number, the time it started and the boot it belongs
to: a number alone may have passed to somebody else's process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Identity(NamedTuple):
    """What tells one process from every other, a later holder of its number included."""

    pid: int
    started: int
    """Clock ticks after boot, as the kernel counts them."""
    boot: str
    """The kernel's boot id."""


def identify(pid: int) -> Identity | None:
    """Read the identity of a running process.

    Parameters
    ----------
    pid
        Its number.

    Returns
    -------
    Identity or None
        None when no such process runs; one that has ended and was not yet
        collected by its parent counts as not running.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name, in parentheses, may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return Identity(pid, int(fields[19]), _boot_id())


def is_running(identity: Identity) -> bool:
    """Tell whether that very process still runs."""
    return identify(identity.pid) == identity


def start(
    command: Sequence[str],
    *,
    log: Path,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    dies_with_parent: bool,
) -> subprocess.Popen[bytes]:
    """Start a program in the background, in a session of its own.

    Parameters
    ----------
    command
        The program and its arguments.
    log
        Where its output is appended.
    prefix
        Programs that prepare the surroundings and then become `command`
        (``nsenter …``), so that its process number is the returned one.
    environment
        Variables added to this process's own.
    dies_with_parent
        Have the kernel kill it when the thread that called this ends, however
        that happens. A cluster's processes outlive their shell instead.
    """
    tether = ("setpriv", "--pdeathsig", "KILL", "--") if dies_with_parent else ()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [*prefix, *tether, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_environment(), **(environment or {})},
            start_new_session=True,
        )


def run(command: Sequence[str], *, stdin: str | None = None) -> str:
    """Run a program to its end.

    Parameters
    ----------
    command
        The program and its arguments.
    stdin
        What it reads; nothing when left out.

    Returns
    -------
    str
        What it printed.

    Raises
    ------
    LocalError
        When it fails; the message holds what it said.
    """
    try:
        finished = subprocess.run(
            command, input=stdin or "", capture_output=True, env=_environment(), text=True, check=False
        )
    except FileNotFoundError as error:
        raise LocalError(f"{command[0]} is not installed") from error
    if finished.returncode != 0:
        said = finished.stderr.strip() or finished.stdout.strip()
        raise LocalError(f"{' '.join(command)} ended with {finished.returncode}: {said}")
    return finished.stdout


def stop(identities: Iterable[Identity], *, grace_s: float = 10.0) -> None:
    """End processes: ask all of them, then kill those that have not ended in time.

    Parameters
    ----------
    identities
        Processes to end; those that no longer run are passed over.
    grace_s
        How long to wait, in seconds, for all of them together.
    """
    with contextlib.ExitStack() as stack:
        handles = []
        for identity in identities:
            try:
                handle = os.pidfd_open(identity.pid)
            except ProcessLookupError:
                continue
            stack.callback(os.close, handle)
            # Checked after opening: from here on the handle cannot mean another process.
            if is_running(identity):
                handles.append(handle)
        for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
            for handle in handles:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
            handles = _still_running(handles, patience_s)


def _environment() -> dict[str, str]:
    """Give this process's environment, with administrators' programs on PATH too."""
    search = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return {**os.environ, "PATH": os.pathsep.join(search)}


def _still_running(handles: Iterable[int], patience_s: float) -> list[int]:
    """Wait for processes to end; give the handles of those that did not."""
    deadline = time.monotonic() + patience_s
    waiting = list(handles)
    while waiting and (left_s := deadline - time.monotonic()) > 0:
        ended, _, _ = select.select(waiting, [], [], left_s)
        waiting = [handle for handle in waiting if handle not in ended]
    return waiting


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
