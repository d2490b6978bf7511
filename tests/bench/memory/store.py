"""Puts and searches through the service's core and a real Redis that syncs every write to disk."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import numpy as np
from innervate_memory.connection import RedisConnection
from innervate_memory.records import Content
from innervate_memory.service import microseconds
from latency import SIZES, Texts
from memory_core import Replica, replica
from redis_process import RedisProcess
from report import ROOT, Aim, Figure

_RUNS: Final = 5
_SECONDS: Final = 2.0
_QUERIES: Final = 100
_TURNS: Final = 20


async def measure() -> list[Figure]:
    """Time the store on the disk that holds the build folder."""
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as directory:
        process = RedisProcess(Path(directory))
        process.start()
        connection = RedisConnection(host="127.0.0.1", port=process.port, password_file=process.password_file)
        one = replica(connection, microseconds, max_records=10_000_000)
        one.seconds = 120
        try:
            return [*await _puts(one), *await _searches(one)]
        finally:
            await one.close()
            await connection.close()
            process.stop()


async def _puts(one: Replica) -> list[Figure]:
    figures = []
    for callers, batch in ((1, 1), (32, 1), (8, 64)):
        texts = Texts(1).make(batch)
        rates, slowest = [], []
        for run in range(_RUNS):
            times = await _repeat(callers, lambda run=run, texts=texts: one.put(f"put{run}", *texts))
            rates.append(len(times) * batch / _SECONDS)
            slowest.append(float(np.percentile(times, 99)))
        name = f"{callers} callers, {batch} records a call, appendfsync always"
        figures += [
            Figure(metric=f"put, {name}", unit="records/s", ours=rates),
            Figure(metric=f"put p99, {name}", unit="ms", ours=slowest),
        ]
    return figures


async def _repeat(callers: int, act: Callable[[], Awaitable[object]]) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + _SECONDS

    async def caller() -> None:
        while time.perf_counter() < end:
            start = time.perf_counter()
            await act()
            times.append((time.perf_counter() - start) * 1000)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return times


async def _searches(one: Replica) -> list[Figure]:
    figures = []
    for size in SIZES:
        texts, space = Texts(size), f"search{size}"
        documents = texts.make(size)
        for start in range(0, size, 250):
            batch = documents[start : start + 250]
            contents = [
                Content(text=text, session_id=f"s{(start + place) // _TURNS}")
                for place, text in enumerate(batch)
            ]
            await one.put(space, *contents)
        start_time = time.perf_counter()
        await one.search(space, "w0", limit=10)
        built = time.perf_counter() - start_time
        queries = texts.make(_QUERIES, shortest=8, longest=8)
        runs = []
        for _ in range(_RUNS):
            times = []
            for query in queries:
                begin = time.perf_counter()
                await one.search(space, query, limit=10)
                times.append((time.perf_counter() - begin) * 1000)
            runs.append(times)
        figures += [
            Figure(
                metric=f"search {name}, {size:,} records, with Redis",
                unit="ms",
                ours=[float(np.percentile(run, share)) for run in runs],
                aim=Aim(text="at most 20", reached=lambda ours, _: ours <= 20),
            )
            for name, share in (("p50", 50), ("p99", 99))
        ]
        figures.append(
            Figure(metric=f"first search of a replica, {size:,} records, with Redis", unit="s", ours=[built])
        )
    return figures
