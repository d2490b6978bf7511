"""Makes processes of instances: ``python3 -m innervate_environments.worker.nursery``, by the server only.

A server with its threads cannot fork safely, and starting Python anew for each process takes seconds. This
process has one thread, imports what instances need, and forks when told to. It ends with the server, and its
children end with it, however the server ended: the kernel sees to that.

Over its control socket, one JSON object a message: ``{"spawn": id}`` with a socket and a memory file,
``{"kill": id}``; it says ``{"ended": id, "status": wait status}``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from innervate_environments.frames import PROGRESS
from innervate_environments.worker.makers import maker_of
from innervate_environments.worker.process import Process

if TYPE_CHECKING:
    from innervate_environments.worker.instances import Maker

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_MAX_CONTROL_BYTES: Final = 4096
_ALONE: Final = "--alone"
"""Says that imports started threads: then each process imports for itself, after the fork."""


def main() -> None:
    """Serve the control socket, whose descriptor is the first argument."""
    descriptor, parent, source = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    maker = maker_of(json.loads(source))
    if _ALONE not in sys.argv:
        # What fails here fails again where an instance is made, and is told to whom it concerns.
        with contextlib.suppress(Exception):
            maker.preload()
        if len(list(Path("/proc/self/task").iterdir())) > 1:
            arguments = [sys.executable, "-m", "innervate_environments.worker.nursery", *sys.argv[1:]]
            os.execv(sys.executable, [*arguments, _ALONE])  # noqa: S606  ourselves again, without a shell
    Nursery(socket.socket(fileno=descriptor), maker).run()


class Nursery:
    """Forks and reaps.

    Parameters
    ----------
    control
        To the server; its end is the end of everything.
    maker
        Makes instances in the children.
    """

    def __init__(self, control: socket.socket, maker: Maker) -> None:
        self._control = control
        self._maker = maker
        self._children: dict[int, int] = {}
        """Process ids of those not yet reaped, by the server's ids."""

    def run(self) -> None:
        """Serve until the server is gone."""
        read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(read, select.POLLIN)
        while True:
            for ready, _ in poll.poll():
                if ready == read:
                    os.read(read, 4096)
                    self._reap()
                elif not self._obey(read, write):
                    return

    def _obey(self, *pipe: int) -> bool:
        message, descriptors, *_ = socket.recv_fds(self._control, _MAX_CONTROL_BYTES, 2)
        if not message:
            return False
        order: dict[str, Any] = json.loads(message)
        if "spawn" in order:
            child = os.fork()
            if not child:
                self._become(descriptors, pipe)
            self._children[order["spawn"]] = child
            for descriptor in descriptors:
                os.close(descriptor)
        elif order.get("kill") in self._children:
            _kill(self._children[order["kill"]])
        return True

    def _become(self, descriptors: list[int], pipe: tuple[int, ...]) -> None:
        """Be a process of instances; does not return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            parent = os.getppid()
            # A group of its own: what an environment starts ends with it.
            os.setpgid(0, 0)
            _end_with(parent)
            for descriptor in pipe:
                os.close(descriptor)
            self._control.close()
            connection, memory = descriptors
            with mmap.mmap(memory, PROGRESS.size) as progress:
                os.close(memory)
                Process(socket.socket(fileno=connection), progress, self._maker).run()
            status = 0
        except (BrokenPipeError, ConnectionResetError):
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            try:
                child, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not child:
                return
            ended = next((own for own, process in self._children.items() if process == child), None)
            if ended is not None:
                del self._children[ended]
                self._control.send(json.dumps({"ended": ended, "status": status}).encode())


def _kill(child: int) -> None:
    # Not reaped yet, so the id is still its own.
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(child, signal.SIGKILL)


def _end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, and take away ways to more rights."""
    library = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if library.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option} is refused")
    if os.getppid() != parent:
        # It ended before the kernel was told.
        os._exit(1)


if __name__ == "__main__":
    main()
