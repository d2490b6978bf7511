"""Our gateway and the routers it is measured beside, each as a process on one core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import packages, paths
from innervate_local.images import rootfs, site
from memory_process import Cluster
from redis_process import RedisProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PEERS = {"sglang-router": "0.3.2", "vllm-router": "0.1.17", "smg": "1.13.0"}
"""Distributions on PyPI, pinned."""
SAMPLED = 0.01
"""Share of our requests that are traced."""
_START_SECONDS = 90


@dataclass(frozen=True)
class Cores:
    """Which cores do what: the router has one of its own, everything else shares the rest."""

    router: str
    rest: str

    @classmethod
    def of_this_machine(cls) -> Cores:
        """Divide the cores that we may use."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(str(cores[0]), ",".join(map(str, cores[1:] or cores)))


@dataclass(frozen=True)
class Running:
    """A router that takes requests."""

    name: str
    url: str
    process: subprocess.Popen[str] | None
    """None for the engine asked directly."""

    def memory_mib(self) -> float:
        """Its largest resident size so far."""
        if self.process is None:
            return 0.0
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """Time that its threads ran so far, the system's work for them included."""
        if self.process is None:
            return 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def install_peers() -> Path:
    """Put the peers into an environment of their own, outside the checkout; gives its programs' folder."""
    packages.ensure("redis-server", "g++", "wrk")
    home = paths.cache() / "bench" / "gateway-peers"
    wanted = json.dumps(PEERS)
    mark = home / "installed.json"
    if not mark.exists() or mark.read_text() != wanted:
        uv = str(ROOT / "scripts" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", str(home / "venv")], check=True)
        names = [f"{name}=={version}" for name, version in PEERS.items()]
        python = str(home / "venv" / "bin" / "python")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *names], check=True)
        mark.write_text(wanted)
    return home / "venv" / "bin"


@contextmanager
def engines(directory: Path, cores: Cores, *, number: int = 2) -> Iterator[list[int]]:
    """Build and start the canned engines; gives their ports."""
    program = directory / "engine"
    subprocess.run(["gcc", "-O2", "-o", str(program), str(HERE / "engine.c")], check=True)
    ports = [free_port() for _ in range(number)]
    processes = [subprocess.Popen(["taskset", "-c", cores.rest, str(program), str(port)]) for port in ports]
    try:
        yield ports
    finally:
        for process in processes:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Installed:
    """Our gateway as its image has it, or as this checkout has it."""

    python: str
    path: tuple[Path, ...]
    """Where it finds packages before all else."""


def install_ours(directory: Path) -> Installed:
    """Put the image's packages and modules into a directory, for the distribution's Python.

    On a machine whose distribution has another Python than the images it is the checkout that is measured.
    """
    python = "/usr/bin/python3"
    tell = "import sys; print(*sys.version_info[:2])"
    version = subprocess.run([python, "-c", tell], capture_output=True, text=True, check=False).stdout.split()
    if version != [str(part) for part in rootfs.PYTHON]:
        print("the checkout is measured: this machine lacks the images' Python", flush=True)
        return Installed(sys.executable, ())
    needed = site.locked(ROOT, "innervate-gateway")
    ours, others = directory / "ours", directory / "others"
    site.install(ROOT, needed.requirements, others)
    site.place(needed.members, ours)
    print(f"modules compiled by: {site.compiler(needed.members)}", flush=True)
    return Installed(python, (ours, others))


class Ours:
    """Our gateway with its Redis and what a cluster gives it.

    Parameters
    ----------
    directory
        For files.
    cores
        Who runs where.
    """

    name = "ours"

    def __init__(self, directory: Path, cores: Cores) -> None:
        self._directory = directory
        self._cores = cores
        self._installed = install_ours(directory / "image")
        self._cluster = Cluster(directory / "cluster")
        self._redis = RedisProcess(directory)

    @property
    def authorization(self) -> str:
        """What callers send."""
        return str(self._cluster.metadata(seconds=6 * 3600)[0][1])

    @contextmanager
    def running(self, ports: Sequence[int]) -> Iterator[Running]:
        """Run it."""
        self._redis.start()
        assert self._redis.process is not None
        os.sched_setaffinity(self._redis.process.pid, {int(core) for core in self._cores.rest.split(",")})
        try:
            with self._gateway(ports) as running:
                yield running
        finally:
            self._redis.stop()

    @contextmanager
    def _gateway(self, ports: Sequence[int]) -> Iterator[Running]:
        config = {
            "service": {
                "healthListen": None,
                "metricsListen": None,
                "paths": {"trustDirectory": str(self._cluster.trust)},
            },
            "pool": {"namespace": "shop", "name": "answers"},
            "listen": "127.0.0.1:0",
            "redis": {
                "host": "127.0.0.1",
                "port": self._redis.port,
                "tls": False,
                "passwordFile": str(self._redis.password_file),
            },
            "engineKeyFile": None,
            # Nobody listens there: the routes are given, and trying again now and then costs nothing.
            "kubernetes": {"server": "http://127.0.0.1:9", "tokenFile": None},
        }
        file = self._directory / "config.json"
        file.write_text(json.dumps(config))
        path = (*map(str, self._installed.path), os.environ.get("PYTHONPATH", ""))
        environment = {
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(SAMPLED),
            "PYTHONPATH": os.pathsep.join(path),
        }
        program = [self._installed.python, str(HERE / "ours.py"), str(file)]
        command = ["taskset", "-c", self._cores.router, *program]
        process = subprocess.Popen(
            [*command, *map(str, ports)], stdout=subprocess.PIPE, text=True, env=os.environ | environment
        )
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield Running(self.name, f"http://127.0.0.1:{port}", process)
        finally:
            process.kill()
            process.wait()


@contextmanager
def peer(
    name: str, programs: Path, cores: Cores, ports: Sequence[int], *, log: Path, body: bytes
) -> Iterator[Running]:
    """Run a peer with its defaults, but for what would be work that ours does not do."""
    port = free_port()
    workers = [f"http://127.0.0.1:{engine}" for engine in ports]
    command = [str(programs / name)]
    if name != "vllm-router":
        command.append("launch")
    command += ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", *workers]
    command += ["--policy", "round_robin", "--log-level", "error", "--prometheus-port", str(free_port())]
    with log.open("w") as out:
        process = subprocess.Popen(
            ["taskset", "-c", cores.router, *command], stdout=out, stderr=subprocess.STDOUT, text=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await(lambda: _answers(url, body), process, log)
        yield Running(name, url, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(ready: Callable[[], bool], process: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"it does not take requests: {log.read_text()[-2000:]}")
        time.sleep(0.3)


def _answers(url: str, body: bytes) -> bool:
    request = urllib.request.Request(  # noqa: S310  loopback
        f"{url}/v1/chat/completions", body, {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310  loopback
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
