"""Environments over a network: ours beside OpenEnv's server, CartPole-v1, callers on the same machine.

Ours does all that it does in a cluster: TLS, tokens verified, instances in processes of their own (32 to a
process), episodes that survive their neighbours' crashes. OpenEnv's server runs with its defaults and one
worker process for each core, plain HTTP, instances as threads within the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_local import paths
from memory_process import Cluster
from redis_process import free_port
from report import Aim, Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PEER = "openenv-core"
PEERS = {PEER: "0.3.0", "gymnasium": "1.2.3", "uvicorn": "0.54.0"}
"""Distributions on PyPI, pinned."""
SESSIONS = 256
SECONDS = 3.0
_START_SECONDS = 120
_FASTER = Aim(text="above the peer", reached=lambda ours, peer: peer is not None and ours > peer)
_SMALLER = Aim(text="below the peer", reached=lambda ours, peer: peer is not None and ours < peer)


class Scenario(NamedTuple):
    """What callers do."""

    metric: str
    kind: str
    count: int


SCENARIOS = (
    Scenario("environment steps, one lease of 1", "batch", 1),
    Scenario("environment steps, one lease of 64 (peer: 64 sessions at once)", "batch", 64),
    Scenario(f"environment steps, {SESSIONS} sessions of 1", "sessions", SESSIONS),
)


class Contestant(NamedTuple):
    """A server that runs, and how to call it."""

    process: subprocess.Popen[bytes]
    caller: list[str]
    """Command up to what is to be done."""
    address: list[str]
    """Arguments after that."""


def figures(*, runs: int) -> list[Figure]:
    """Measure everybody in turn, so that what the machine does besides meets all alike."""
    python = _installed()
    taken: dict[tuple[str, str], list[float]] = {}
    memory: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for run in range(runs):
            for name, start in (("ours", _ours), (PEER, _peer)):
                with start(Path(scratch) / f"{name}-{run}", python) as contestant:
                    for scenario in SCENARIOS:
                        rate = _measure(contestant, scenario)
                        taken.setdefault((name, scenario.metric), []).append(rate)
                        print(f"{name}, {scenario.metric}: {rate:.0f}/s", flush=True)
                    memory.setdefault(name, []).append(_memory_mib(contestant.process.pid))
    found = [
        Figure(
            metric=scenario.metric,
            unit="1/s",
            ours=taken["ours", scenario.metric],
            peer=taken[PEER, scenario.metric],
            peer_name=f"OpenEnv {PEERS[PEER]}",
            aim=_FASTER,
        )
        for scenario in SCENARIOS
    ]
    return [
        *found,
        Figure(
            metric=f"memory of all processes after {SESSIONS} sessions, shared pages divided",
            unit="MiB",
            ours=memory["ours"],
            peer=memory[PEER],
            peer_name=f"OpenEnv {PEERS[PEER]}",
            aim=_SMALLER,
        ),
    ]


def _installed() -> Path:
    """Put the peer into an environment of its own, outside the checkout; gives its interpreter."""
    home = paths.cache() / "bench" / "openenv"
    python = home / "venv" / "bin" / "python"
    wanted = json.dumps(PEERS)
    mark = home / "installed.json"
    if not mark.exists() or mark.read_text() != wanted:
        uv = str(ROOT / "scripts" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", str(home / "venv")], check=True)
        names = [f"{name}=={version}" for name, version in PEERS.items()]
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *names], check=True)
        mark.write_text(wanted)
    return python


@contextmanager
def _ours(directory: Path, _: Path) -> Iterator[Contestant]:
    cluster = Cluster(directory)
    port, health = free_port(), free_port()
    (_, header), *_ = cluster.metadata(seconds=3600)
    token = directory / "token"
    token.write_text(header.removeprefix("Bearer "))
    config = directory / "config.json"
    document = {
        "service": {
            "listen": f"localhost:{port}",
            "healthListen": f"localhost:{health}",
            "metricsListen": None,
            "drain": {"delaySeconds": 0, "graceSeconds": 1},
            "paths": {
                "trustDirectory": str(cluster.trust),
                "identityDirectory": str(cluster.identity),
            },
        },
        "environment": {
            "namespace": "shop",
            "name": "cart",
            "source": {"gymnasium": {"id": "CartPole-v1", "options": {}}},
            "capacity": 2 * SESSIONS,
            "instancesPerProcess": 32,
        },
    }
    config.write_text(json.dumps(document))
    program = [sys.executable, str(HERE / "serving_ours.py")]
    process = subprocess.Popen(
        [*program, "serve", str(config)], env=os.environ | {"INNERVATE_LOG_LEVEL": "ERROR"}
    )
    address = [f"grpcs://localhost:{port}", str(cluster.trust / "ca.crt"), str(token)]
    with _until_ready(process, f"http://localhost:{health}/readyz"):
        yield Contestant(process, program, address)


@contextmanager
def _peer(directory: Path, python: Path) -> Iterator[Contestant]:
    directory.mkdir()
    port = free_port()
    command = [str(python), "-m", "uvicorn", "--factory", "serving_openenv:app", "--app-dir", str(HERE)]
    command += ["--port", str(port), "--workers", str(os.cpu_count()), "--log-level", "error"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # It writes a traceback for every session that its own client closes.
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    with _until_ready(process, f"http://127.0.0.1:{port}/health"):
        yield Contestant(
            process, [str(python), str(HERE / "serving_openenv.py")], [f"http://127.0.0.1:{port}"]
        )


@contextmanager
def _until_ready(process: subprocess.Popen[bytes], url: str) -> Iterator[None]:
    try:
        until = time.monotonic() + _START_SECONDS
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{process.args} does not serve")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  always one of ours
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _measure(contestant: Contestant, scenario: Scenario) -> float:
    command = [*contestant.caller, scenario.kind, *contestant.address, str(scenario.count), str(SECONDS)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(finished.stdout.splitlines()[-1])
    return float(result["steps"]) / float(result["seconds"])


def _memory_mib(pid: int) -> float:
    """Memory of a process and all below it; a page that several share counts once in all."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own / 1024 + sum(_memory_mib(int(child)) for child in children)
