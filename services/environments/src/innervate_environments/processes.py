"""Processes of instances as the server sees them: started, asked, watched, ended."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from innervate_service.errors import Unavailable
from innervate_service.logs import get_logger

from innervate_environments import metrics
from innervate_environments.episodes import Failure, Reason
from innervate_environments.frames import (
    LENGTH,
    PROGRESS,
    Answer,
    Kind,
    Phase,
    pack_head,
    pack_request,
    unpack_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BEGIN_SECONDS: Final = 120.0
"""Time to import, make an instance and begin an episode; a step's time where that is longer."""
_REAP_SECONDS: Final = 15.0
"""How long to wait for what a process ended of, once its socket is closed."""
_MAX_FRAME: Final = 1024 * 1024 * 1024
_RESTART_SECONDS: Final = 1.0
"""Pause before a nursery that ended is started anew."""
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Many processes share few cores; and a process with threads cannot be forked."""

_log = get_logger(__name__)


@dataclass
class Lost(Exception):
    """A process ended before it answered.

    Parameters
    ----------
    failure
        What the slots are told whose process it was.
    guilty
        The place that it was at when it was ended for taking too long; None where that is not known.
    """

    failure: Failure
    guilty: int | None = None


class Process(asyncio.Protocol):
    """A process of instances. Asked by one request after the other, answered in order.

    Parameters
    ----------
    kill
        Ends it.
    step_seconds
        Time of one step.
    """

    def __init__(self, kill: Callable[[], None], *, step_seconds: float) -> None:
        self._kill = kill
        self._step_seconds = step_seconds
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[Answer]] = deque()
        self._progress = mmap.mmap(-1, PROGRESS.size)
        self._seen = (0, time.monotonic())
        self.lost: Lost | None = None
        """Why it is of no use any more; None while it is."""

    def share(self, memory: int) -> None:
        """Use this memory file to see how far it is."""
        self._progress = mmap.mmap(memory, PROGRESS.size)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        # A socket's transport has both ways, whatever class an event loop makes it of.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer)
            end = LENGTH.size + size
            if size > _MAX_FRAME or not self._waiting:
                self._refuse("it said what nobody asked")
                return
            if len(self._buffer) < end:
                return
            frame = bytes(memoryview(self._buffer)[LENGTH.size : end])
            del self._buffer[:end]
            try:
                answer = unpack_answer(frame)
            except ValueError as error:
                self._refuse(str(error))
                return
            self._touch()
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        if self.lost is None:
            # It may still run; and whoever reaps it knows more.
            self._kill()
            asyncio.get_running_loop().call_later(_REAP_SECONDS, self.ended, "its process ended")

    def ask(self, head: bytes, numbers: bytes = b"") -> asyncio.Future[Answer]:
        """Send a request, see `frames.pack_head`; the future has the answer, or raises `Lost`."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self.lost is not None or self._transport is None:
            future.set_exception(self.lost or Lost(Failure(Reason.CRASHED, "its process ended")))
            return future
        if not self._waiting:
            self._touch()
        self._waiting.append(future)
        self._transport.write(pack_request(head, numbers))
        return future

    def close_places(self, places: list[int]) -> None:
        """Give up instances; nothing is answered."""
        if self.lost is None and self._transport is not None:
            self._transport.write(pack_request(pack_head(Kind.CLOSE, {"places": places})))

    def end(self) -> None:
        """End it in order, with all it started."""
        self._over(Lost(Failure(Reason.CRASHED, "its process was ended")))

    def ended(self, message: str) -> None:
        """Take note that it is gone, or of no use; its requests fail."""
        if self.lost is None:
            metrics.LOST.labels(Reason.CRASHED.name.lower()).inc()
            self._over(Lost(Failure(Reason.CRASHED, message)))

    def _over(self, lost: Lost) -> None:
        if self.lost is not None:
            return
        self.lost = lost
        if self._transport is not None:
            self._transport.abort()
        # Its end of the socket may be closed while it still runs.
        self._kill()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(self.lost)

    def watch(self) -> None:
        """End it if what it is at takes too long. To be called every now and then."""
        if not self._waiting or self.lost is not None:
            return
        begun, place, phase = PROGRESS.unpack_from(self._progress)
        now = time.monotonic()
        if begun != self._seen[0]:
            self._seen = (begun, now)
            return
        limit = self._step_seconds if phase == Phase.STEP else max(_BEGIN_SECONDS, self._step_seconds)
        if now - self._seen[1] > limit:
            what = "a step" if phase == Phase.STEP else "beginning an episode"
            failure = Failure(Reason.HUNG, f"{what} took longer than {limit:g} s and its process was ended")
            metrics.LOST.labels(Reason.HUNG.name.lower()).inc()
            self._over(Lost(failure, guilty=place))

    def _touch(self) -> None:
        self._seen = (PROGRESS.unpack_from(self._progress)[0], time.monotonic())

    def _refuse(self, problem: str) -> None:
        _log.error("a process of instances is ended", problem=problem)
        self.ended(f"its process was ended: {problem}")


class Nursery:
    """Starts processes of instances, through a process that does nothing else.

    Parameters
    ----------
    source
        What instances are of, for `worker.instances.maker_of`.
    step_seconds
        Time of one step.
    """

    def __init__(self, source: Mapping[str, Any], *, step_seconds: float) -> None:
        self._source = json.dumps(source)
        self._step_seconds = step_seconds
        self._watch_seconds = min(step_seconds / 4, 1.0)
        self._program: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._processes: dict[int, Process] = {}
        self._started = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    @property
    def problem(self) -> str | None:
        """Why nothing can be started now; None when it can."""
        return None if self._control is not None else "processes of instances cannot be started now"

    def start(self) -> None:
        """Start; needs a running event loop, in the process's main thread."""
        self._launch()
        self._tasks.append(asyncio.create_task(self._follow(), name="watch-processes"))

    async def stop(self) -> None:
        """End every process."""
        self._over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for process in list(self._processes.values()):
            process.end()
        self._hang_up()

    async def spawn(self) -> Process:
        """Start a process.

        Raises
        ------
        Unavailable
            That is not possible now.
        """
        if self._control is None:
            raise Unavailable("processes of instances cannot be started now; try again")
        self._started += 1
        number = self._started
        process = Process(lambda: self._kill(number), step_seconds=self._step_seconds)
        ours, theirs = socket.socketpair()
        memory = os.memfd_create("progress")
        try:
            os.ftruncate(memory, PROGRESS.size)
            process.share(memory)
            message = json.dumps({"spawn": number}).encode()
            socket.send_fds(self._control, [message], [theirs.fileno(), memory])
        except OSError as error:
            ours.close()
            raise Unavailable(f"a process of instances cannot be started: {error}; try again") from error
        finally:
            theirs.close()
            os.close(memory)
        self._processes[number] = process
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: process, sock=ours)
        return process

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "innervate_environments.worker.nursery", str(theirs.fileno())]
        self._program = subprocess.Popen(
            [*command, str(os.getpid()), self._source],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
            start_new_session=True,
        )
        theirs.close()
        ours.setblocking(False)
        self._control = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)

    def _hear(self) -> None:
        assert self._control is not None  # noqa: S101  it is what was heard
        try:
            message = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message:
            self._bereft()
            return
        said = json.loads(message)
        process = self._processes.pop(said["ended"], None)
        if process is not None:
            process.ended(_cause(said["status"]))

    def _bereft(self) -> None:
        """The nursery is gone, and with it all processes."""
        self._hang_up()
        for process in list(self._processes.values()):
            process.ended("its process ended")
        self._processes.clear()
        if not self._over:
            _log.error("the nursery of processes ended and is started anew")
            asyncio.get_running_loop().call_later(_RESTART_SECONDS, self._relaunch)

    def _relaunch(self) -> None:
        if not self._over:
            self._launch()

    def _hang_up(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        if self._program is not None:
            self._program.kill()
            self._program.wait()
            self._program = None

    def _kill(self, number: int) -> None:
        if self._control is not None and number in self._processes:
            try:
                self._control.send(json.dumps({"kill": number}).encode())
            except OSError as error:
                _log.error("a process of instances cannot be ended", error=str(error))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._watch_seconds)
            for process in list(self._processes.values()):
                process.watch()


def _cause(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"its process was ended by signal {os.WTERMSIG(status)}"
    return f"its process ended with status {os.waitstatus_to_exitcode(status)}"
