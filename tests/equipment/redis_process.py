"""A real Redis server as a child process, on loopback, with its files in a folder of the test's."""

import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from innervate_local import packages

_START_SECONDS = 20


def redis_binary() -> str:
    """Find redis-server, installing the Debian package (without its service) where it is missing."""
    packages.ensure("redis-server")
    found = shutil.which("redis-server")
    assert found, "redis-server is not on PATH: install it"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RedisProcess:
    """One Redis. It may be killed and started again on the same port and files."""

    directory: Path
    durability: str = "always"
    """`appendfsync`."""
    options: tuple[str, ...] = ()
    """Further arguments of redis-server."""
    password: str = "open sesame"
    tls: Path | None = None
    """Folder with tls.crt, tls.key and ca.crt: then TLS only, with client certificates."""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def password_file(self) -> Path:
        return self.directory / "password"

    def start(self) -> None:
        self.password_file.write_text(self.password + "\n")
        arguments = ["--appendonly", "yes", "--appendfsync", self.durability, "--save", ""]
        arguments += ["--maxmemory-policy", "noeviction", "--requirepass", self.password]
        if self.tls is None:
            arguments += ["--port", str(self.port), "--bind", "127.0.0.1"]
        else:
            arguments += ["--port", "0", "--tls-port", str(self.port), "--bind", "127.0.0.1", "::1"]
            arguments += ["--tls-cert-file", str(self.tls / "tls.crt")]
            arguments += ["--tls-key-file", str(self.tls / "tls.key")]
            arguments += ["--tls-ca-cert-file", str(self.tls / "ca.crt"), "--tls-auth-clients", "yes"]
        self.process = subprocess.Popen(
            [redis_binary(), *arguments, *self.options],
            cwd=self.directory,
            stdout=(self.directory / "redis.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        self._await_listening()

    def kill(self) -> None:
        """Kill it as a power cut would end it, as far as the process is concerned."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    @property
    def log(self) -> str:
        return (self.directory / "redis.log").read_text(errors="replace")

    def files(self) -> bytes:
        """Everything it has on disk."""
        kept = [path for path in self.directory.rglob("*") if path.suffix in {".aof", ".rdb"}]
        return b"".join(path.read_bytes() for path in kept)

    def _await_listening(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            assert self.process is not None
            assert self.process.poll() is None, f"Redis ended: {self.log}"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError(f"Redis does not listen: {self.log}")
