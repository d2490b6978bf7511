"""A server of one environment on a Unix socket, for tests and a laptop: no cluster, no certificates.

    with LocalServer({"source": {"gymnasium": {"id": "CartPole-v1"}}}) as server:
        environment = VectorEnvironment.open(server.endpoint, slots=8)

It is the same server as in a cluster, in a process of its own; who may use it is a matter of the socket's
directory, which only the caller's own user can enter.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

_END_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.05


class LocalServer:
    """A server in a process of its own, which ends with the context.

    Parameters
    ----------
    environment
        As the key `environment` of a server's configuration.
    scorer
        Socket of a scoring service, for rewards.
    python
        Interpreter that has this package and what the environment needs; None for this one.
    """

    def __init__(
        self, environment: Mapping[str, Any], *, scorer: Path | None = None, python: Path | None = None
    ) -> None:
        self._environment = {"namespace": "local", "name": "local"} | dict(environment)
        self._scorer = scorer
        self._python = sys.executable if python is None else str(python)
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """What a client opens."""
        if self._directory is None:
            raise RuntimeError("the server is not started")
        return f"unix:{self._directory / 'server.sock'}"

    @property
    def pid(self) -> int:
        """The server's process."""
        if self._process is None:
            raise RuntimeError("the server is not started")
        return self._process.pid

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def start(self) -> None:
        """Start it, and wait until it serves.

        Raises
        ------
        RuntimeError
            It ended before it served.
        """
        self._directory = Path(tempfile.mkdtemp(prefix="innervate-"))
        config = self._directory / "config.json"
        document = {
            "environment": self._environment,
            "scorer": None if self._scorer is None else {"socket": str(self._scorer)},
        }
        config.write_text(json.dumps(document), encoding="utf-8")
        self._start(config, self._directory / "server.sock")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def start_again(self) -> None:
        """Serve at the same endpoint after `kill`, as a pod's next container does."""
        if self._directory is None:
            raise RuntimeError("the server is not started")
        socket = self._directory / "server.sock"
        socket.unlink(missing_ok=True)
        self._start(self._directory / "config.json", socket)

    def stop(self) -> None:
        """End it in order, and remove its files; a second time changes nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _start(self, config: Path, socket: Path) -> None:
        command = [self._python, "-m", "innervate_environments.local_server"]
        self._process = subprocess.Popen([*command, str(config), self.endpoint])
        # The socket is there when calls are taken.
        while not socket.exists():
            status = self._process.poll()
            if status is not None:
                self.stop()
                raise RuntimeError(
                    f"the server ended with status {status} before it served; its log says why"
                )
            time.sleep(_PAUSE_SECONDS)
