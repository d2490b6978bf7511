"""A real S3 server and a real container registry on loopback."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from innervate_local import binaries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START_SECONDS = 60
_PASSWORD = "open-sesame-1"
_HASHED = "$2b$04$rWI0PUO2BC2XPddDcxCkyeQXrqJY0RNY4lIH/keWAfGWVS.S0KsrS"
"""The password as bcrypt hashes it: the only form that the registry takes."""


@dataclass(frozen=True)
class Server:
    """A server, its files, and who may use it."""

    address: str
    root: Path
    name: str = "innervate"
    password: str = _PASSWORD


def _start(command: list[str], log: Path, port: int, **options: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log.open("wb"),
        stderr=subprocess.STDOUT,
        **options,  # type: ignore[call-overload]  # env and cwd
    )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Versity's S3 gateway over a directory, with the bucket `models`."""
    root, port = tmp_path_factory.mktemp("s3"), _free_port()
    (root / "data/models").mkdir(parents=True)
    server = Server(f"http://127.0.0.1:{port}", root / "data/models")
    process = _start(
        [
            str(binaries.path("versitygw")),
            *("--port", f"127.0.0.1:{port}", "--access", server.name, "--secret", server.password),
            *("--quiet", "posix", str(root / "data")),
        ],
        root / "log",
        port,
    )
    yield server
    _stop(process)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The distribution project's registry, with a login."""
    root, port = tmp_path_factory.mktemp("registry"), _free_port()
    server = Server(f"127.0.0.1:{port}", root / "data")
    (root / "htpasswd").write_text(f"{server.name}:{_HASHED}\n")
    (root / "config.yaml").write_text(
        f"""\
version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {root / "data"}}}
http: {{addr: 127.0.0.1:{port}, secret: test}}
auth:
  htpasswd: {{realm: test, path: {root / "htpasswd"}}}
"""
    )
    process = _start([str(binaries.path("registry")), "serve", str(root / "config.yaml")], root / "log", port)
    yield server
    _stop(process)
