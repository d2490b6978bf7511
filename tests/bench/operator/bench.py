"""The operator beside a controller-runtime one: the same kind, the same five children, the same API server.

Each run has a fresh etcd, API server and controller manager; the two operators take turns. Time is from the
first creation until the last object is Ready in its current generation.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import contestant
from contestant import Contestant, Operator
from report import Aim, Figure, publish
from stage import Stage

HERE = Path(__file__).resolve().parent
LIFE_OBJECTS = 100
"""Objects of the run that is watched to its end: writes by object do not depend on how many there are."""
IDLE_S = 30.0
IDLE_RESYNC_S = 5
TAKEOVERS = 5


class Rush(NamedTuple):
    """What one run from nothing to all Ready took."""

    seconds: float
    peak_mebibytes: float
    cpu_seconds: float
    writes: float
    """Writes of the operator by object until all were Ready."""


class Life(NamedTuple):
    """What the objects of one run cost until nothing moved, and afterwards."""

    own_writes: float
    """Writes of the operator by object."""
    all_writes: float
    """The same, with those of Kubernetes' own controllers."""
    idle_writes: float
    """Writes of the operator after a restart, with every object looked at again six times."""
    takeovers: Sequence[float]
    """Seconds from the leader's death until the standby has made an object Ready."""
    children: dict[str, Any]
    """What the operator made of one object."""


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make bench NAME=operator", description=__doc__)
    parser.add_argument("--objects", type=int, default=1000, help="objects created in each run")
    parser.add_argument("--runs", type=int, default=5, help="runs of each operator")
    parser.add_argument("--keep", type=Path, help="directory for data and logs, kept afterwards")
    options = parser.parse_args()
    pair = (contestant.ours(), contestant.peer())
    directory = options.keep or Path(tempfile.mkdtemp(prefix="innervate-bench-"))
    try:
        rushes: dict[str, list[Rush]] = {each.name: [] for each in pair}
        for turn in range(options.runs):
            # Whoever goes first in one turn goes second in the next.
            for each in pair if turn % 2 == 0 else reversed(pair):
                rush = _rush(each, directory / f"{each.name}-{turn}", options.objects)
                rushes[each.name].append(rush)
                print(f"{each.name}: {rush}", file=sys.stderr, flush=True)
        lives = {}
        for each in pair:
            lives[each.name] = _life(each, directory / f"{each.name}-life", LIFE_OBJECTS)
            told = lives[each.name]._replace(children={})
            print(f"{each.name}: {told}", file=sys.stderr, flush=True)
    finally:
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    names = [each.name for each in pair]
    ours, peers = (lives[name].children for name in names)
    if ours != peers:
        raise SystemExit(f"the two operators do not do the same:\n{ours}\n{peers}")
    publish("operator", _figures(names, rushes, lives, options.objects))
    return 0


def _rush(who: Contestant, directory: Path, objects: int) -> Rush:
    with Stage(directory, HERE / "crd.yaml") as stage:
        operator = who.start(stage.account(who.name), directory / "operator.log")
        try:
            stage.create(["warm-up"])
            mark, before = stage.mark(), operator.use()
            seconds = stage.create(f"bundle-{number}" for number in range(objects))
            used = operator.use()
            writes = stage.writes(mark)[who.name]
        finally:
            operator.stop()
    return Rush(seconds, used.peak_mebibytes, used.cpu_seconds - before.cpu_seconds, writes / objects)


def _life(who: Contestant, directory: Path, objects: int) -> Life:
    with Stage(directory, HERE / "crd.yaml") as stage:
        kubeconfig, log = stage.account(who.name), directory / "operator.log"
        running: list[Operator] = [who.start(kubeconfig, log)]
        try:
            stage.create(["warm-up"])
            stage.settle()
            mark = stage.mark()
            stage.create(f"bundle-{number}" for number in range(objects))
            stage.settle()
            writes = stage.writes(mark)
            created_by_us = objects
            children = stage.children("bundle-0")
            running.pop().stop()

            mark = stage.mark()
            running.append(who.start(kubeconfig, log, resync_s=IDLE_RESYNC_S))
            time.sleep(IDLE_S)
            running[0].use()
            idle = stage.writes(mark)[who.name]

            takeovers = []
            for number in range(TAKEOVERS):
                running.append(who.start(kubeconfig, log))
                running[-1].await_following()
                died = time.monotonic()
                running.pop(0).kill()
                stage.create([f"orphan-{number}"])
                takeovers.append(time.monotonic() - died)
        finally:
            for operator in running:
                operator.stop()
    return Life(
        writes[who.name] / objects,
        (writes.total() - created_by_us) / objects,
        float(idle),
        takeovers,
        children,
    )


def _figures(
    names: Sequence[str], rushes: dict[str, list[Rush]], lives: dict[str, Life], objects: int
) -> list[Figure]:
    ours, peer = (rushes[name] for name in names)
    our_life, peer_life = (lives[name] for name in names)
    peer_name = names[1]

    def beside(metric: str, unit: str, field: str, aim: Aim | None = None) -> Figure:
        return Figure(
            metric=metric,
            unit=unit,
            ours=[getattr(rush, field) for rush in ours],
            peer=[getattr(rush, field) for rush in peer],
            peer_name=peer_name,
            aim=aim,
        )

    def once(metric: str, unit: str, field: str, aim: Aim | None = None) -> Figure:
        return Figure(
            metric=metric,
            unit=unit,
            ours=_values(getattr(our_life, field)),
            peer=_values(getattr(peer_life, field)),
            peer_name=peer_name,
            aim=aim,
        )

    within = Aim(
        text="≤ 1.2 × peer", reached=lambda mine, theirs: theirs is not None and mine <= 1.2 * theirs
    )
    fewer = Aim(text="fewer than peer", reached=lambda mine, theirs: theirs is not None and mine < theirs)
    median_peer = statistics.median(rush.seconds for rush in peer)
    return [
        beside(f"{objects} objects × 5 children until all Ready", "s", "seconds", within),
        Figure(
            metric="time as a multiple of the peer's median",
            unit="×",
            ours=[rush.seconds / median_peer for rush in ours],
            aim=Aim(text="≤ 1.2", reached=lambda mine, _: mine <= 1.2),
        ),
        beside("operator's API writes per object until all Ready", "writes", "writes", fewer),
        once("operator's API writes per object until settled", "writes", "own_writes", fewer),
        once("all API writes per object until settled", "writes", "all_writes", fewer),
        beside(
            "peak memory",
            "MiB",
            "peak_mebibytes",
            Aim(text="≤ 150 MB", reached=lambda mine, _: mine * 1.048576 <= 150),
        ),
        beside("processor time", "s", "cpu_seconds"),
        once(
            f"writes after a restart and {IDLE_S:.0f} idle s, resync every {IDLE_RESYNC_S} s",
            "writes",
            "idle_writes",
            Aim(text="0", reached=lambda mine, _: mine == 0),
        ),
        once(
            "leader killed until the standby has made an object Ready",
            "s",
            "takeovers",
            Aim(text="≤ 15", reached=lambda mine, _: mine <= 15),
        ),
    ]


def _values(measured: float | Sequence[float]) -> Sequence[float]:
    return measured if isinstance(measured, Sequence) else [measured]


if __name__ == "__main__":
    sys.exit(main())
