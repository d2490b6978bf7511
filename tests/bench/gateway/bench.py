"""Benchmark of the gateway: requests a second on one core and the latency it adds, beside Rust routers.

Ours is what its image holds, and does all that it does in a cluster: tokens verified, arms chosen, every
exchange durable in a real Redis (synced on each write) before its answer ends, accounts kept, one in a
hundred requests traced. The peers run with their defaults and do none of it. The engine is a small C program
with canned answers; callers are wrk. Everything speaks plain HTTP. The router has a core of its own, the rest
of the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from contestants import PEERS, Cores, Ours, Running, engines, install_peers, peer
from report import Aim, Figure, publish

HERE = Path(__file__).resolve().parent
DIRECT = "no router"


class Scenario(NamedTuple):
    """What callers ask."""

    name: str
    prompt_bytes: int
    stream: bool

    def body(self) -> bytes:
        """The request's body."""
        document: dict[str, object] = {
            "model": "tiny",
            "messages": [{"role": "user", "content": "lorem ipsum " * (self.prompt_bytes // 12)}],
        }
        if self.stream:
            document["stream"] = True
        return json.dumps(document, separators=(",", ":")).encode()


SCENARIOS = [
    Scenario("1 KB prompt", 1_000, stream=False),
    Scenario("1 KB prompt, streamed", 1_000, stream=True),
    Scenario("200 KB prompt", 200_000, stream=False),
    Scenario("200 KB prompt, streamed", 200_000, stream=True),
]


class Sample(NamedTuple):
    """One run of wrk."""

    rate: float
    p99_ms: float
    cpu_us: float
    """Of the router, for one request."""


class Bench:
    """One call of the benchmark.

    Parameters
    ----------
    directory
        For files.
    options
        Of the command line.
    """

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self._directory = directory
        self._options = options
        self._cores = Cores.of_this_machine()
        self._ours = Ours(directory, self._cores)
        self._programs = install_peers()
        self.samples: dict[tuple[str, str], list[Sample]] = {}
        self.memory: dict[str, list[float]] = {}

    def measure(self) -> None:
        """Run everybody in turn, so that what the machine does besides meets all alike."""
        with engines(self._directory, self._cores) as ports:
            for _ in range(self._options.runs):
                for name in [DIRECT, Ours.name, *PEERS]:
                    with self._contestant(name, ports) as running:
                        for scenario in SCENARIOS:
                            self._load(running, scenario, seconds=1)
                            sample = self._load(running, scenario, seconds=self._options.seconds)
                            self.samples.setdefault((name, scenario.name), []).append(sample)
                            print(
                                f"{name}, {scenario.name}: {sample.rate:.0f}/s, p99 {sample.p99_ms:.2f} ms, "
                                f"CPU {sample.cpu_us:.0f} µs",
                                flush=True,
                            )
                        if name != DIRECT:
                            self.memory.setdefault(name, []).append(running.memory_mib())

    def _contestant(self, name: str, ports: list[int]) -> AbstractContextManager[Running]:
        if name == DIRECT:
            return _Direct(f"http://127.0.0.1:{ports[0]}")
        if name == Ours.name:
            return self._ours.running(ports)
        log = self._directory / f"{name}.log"
        return peer(name, self._programs, self._cores, ports, log=log, body=SCENARIOS[0].body())

    def _load(self, running: Running, scenario: Scenario, *, seconds: float) -> Sample:
        body = self._directory / "body.json"
        body.write_bytes(scenario.body())
        command = ["taskset", "-c", self._cores.rest, "wrk", "--threads", "1", "--timeout", "30s"]
        command += ["--connections", str(self._options.connections), "--duration", f"{seconds}s"]
        before = running.cpu_seconds()
        finished = subprocess.run(
            [*command, "--script", str(HERE / "wrk.lua"), running.url],
            env=os.environ | {"BENCH_BODY": str(body), "BENCH_AUTHORIZATION": self._ours.authorization},
            capture_output=True,
            text=True,
            check=True,
        )
        result = json.loads(finished.stdout.splitlines()[-1])
        if result["errors"] or not result["requests"]:
            raise RuntimeError(f"{running.name} failed in {scenario.name}: {finished.stdout}")
        cpu = running.cpu_seconds() - before
        requests = result["requests"]
        return Sample(requests / result["seconds"], result["p99_ms"], cpu * 1e6 / requests)

    def figures(self) -> list[Figure]:
        """All figures, one row for each peer."""
        found = []
        for scenario in SCENARIOS:
            direct = self.samples[DIRECT, scenario.name]
            ours = self.samples[Ours.name, scenario.name]
            for name in PEERS:
                theirs = self.samples[name, scenario.name]
                found += [
                    Figure(
                        metric=f"requests on one core, {scenario.name}",
                        unit="1/s",
                        ours=[sample.rate for sample in ours],
                        peer=[sample.rate for sample in theirs],
                        peer_name=name,
                        aim=Aim(
                            text="at least 1.5 times the peer",
                            reached=lambda ours, peer: peer is not None and ours >= 1.5 * peer,
                        ),
                    ),
                    Figure(
                        metric=f"CPU time of a request, {scenario.name}",
                        unit="µs",
                        ours=[sample.cpu_us for sample in ours],
                        peer=[sample.cpu_us for sample in theirs],
                        peer_name=name,
                        aim=Aim(
                            text="at most two thirds of the peer",
                            reached=lambda ours, peer: peer is not None and ours * 1.5 <= peer,
                        ),
                    ),
                    Figure(
                        metric=f"p99 added, {scenario.name}, {self._options.connections} callers",
                        unit="ms",
                        ours=_added(ours, direct),
                        peer=_added(theirs, direct),
                        peer_name=name,
                        aim=Aim(
                            text="below the peer", reached=lambda ours, peer: peer is not None and ours < peer
                        ),
                    ),
                ]
        found += [
            Figure(
                metric="largest resident size",
                unit="MiB",
                ours=self.memory[Ours.name],
                peer=self.memory[name],
                peer_name=name,
            )
            for name in PEERS
        ]
        return found


class _Direct(AbstractContextManager[Running]):
    """The engine asked without anything between."""

    def __init__(self, url: str) -> None:
        self._running = Running(DIRECT, url, None)

    def __enter__(self) -> Running:
        return self._running

    def __exit__(self, *_: object) -> None:
        return None


def _added(samples: list[Sample], direct: list[Sample]) -> list[float]:
    return [max(0.0, one.p99_ms - base.p99_ms) for one, base in zip(samples, direct, strict=True)]


def main() -> int:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="turns of everybody")
    parser.add_argument("--seconds", type=int, default=5, help="length of one load")
    parser.add_argument("--connections", type=int, default=32, help="callers at once")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="innervate-gateway-bench-") as directory:
        bench = Bench(Path(directory), options)
        bench.measure()
        publish("gateway", bench.figures())
    return 0


if __name__ == "__main__":
    sys.exit(main())
