"""The loop on a real cluster of its own: the way back from a bad release, bare flips of traffic, and kills.

Releases are prepared beforehand; no training is inside what is timed. The kills may be broken off and gone on
with: what is done is kept in ``build/bench/loop-kills-<seed>.jsonl``, and a number there is not played again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import figures
import flips
import gates
import prepared
import rollbacks
from clusters import cluster
from innervate_local.progress import step
from loop_callers import Callers
from loop_kills import EVERYWHERE, TRAINER, Killer, blows
from loop_pool import LoopPool
from loop_rollouts import Rollouts
from loop_watch import Watch
from progress import Progress
from report import ROOT, Figure, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prepared import Prepared

    from tests.e2e.lab import Lab

CLUSTER = "loopbench"
GOOD, BAD, UNSIGNED, GOLDEN, LABELS = "good", "bad", "unsigned", "golden", "labels"
_MEMORY = "512Mi"
_RELEASES = {"trained": prepared.trained, "letters": prepared.letters}


def main() -> int:
    """Measure, print, write."""
    options = _options()
    print(f"seed {options.seed}", file=sys.stderr, flush=True)
    with step("preparing the releases"):
        releases = _RELEASES[options.releases](ROOT / "build" / "loop-bench")
    found: list[Figure] = []
    try:
        _measure(options, releases, found)
    finally:
        # What was measured before something broke is told all the same.
        if found:
            load = f"load average {os.getloadavg()[1]:.1f} over the last 5 minutes"
            print(f"\nReleases: {options.releases}; seed {options.seed}; {load}.\n")
            publish("loop", found)
    return 0


def _measure(options: argparse.Namespace, releases: Prepared, found: list[Figure]) -> None:
    """Measure part after part, and add each one's figures as soon as it is done."""
    if options.gates:
        with step("simulating the judge"):
            found += gates.measure()
    with cluster(CLUSTER, keep=options.keep) as lab:
        if options.flips or options.loops:
            with _pool(lab, releases, seed=options.seed) as (pool, watch, callers):
                if options.flips:
                    found += figures.of_flips(
                        flips.measure(
                            *(pool, watch, callers),
                            releases=(GOOD, BAD),
                            flips=options.flips,
                            seed=options.seed,
                        )
                    )
                if options.loops:
                    found += figures.of_rollbacks(
                        rollbacks.measure(
                            *(Rollouts(pool, watch), callers),
                            stable=GOOD,
                            bad=BAD,
                            loops=options.loops,
                            seed=options.seed,
                        )
                    )
        if options.kills:
            found += figures.of_kills(_kills(lab, releases, options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench NAME=loop", description=__doc__)
    parser.add_argument("--loops", type=int, default=30, help="rollouts that are taken back")
    parser.add_argument("--flips", type=int, default=300, help="bare flips of traffic")
    parser.add_argument("--kills", type=int, default=30, help="loops in which something is killed")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn")
    parser.add_argument(
        "--releases", choices=_RELEASES, default="trained", help="the project's model, or mere letters"
    )
    parser.add_argument(
        "--gates", action=argparse.BooleanOptionalAction, default=True, help="simulate the judge as well"
    )
    parser.add_argument("--keep", action="store_true", help="leave the cluster up for the next run")
    return parser.parse_args()


@contextmanager
def _pool(lab: Lab, releases: Prepared, *, seed: int) -> Iterator[tuple[LoopPool, Watch, Callers]]:
    """A pool that serves the good release, watched and asked."""
    with lab.namespace("loop") as namespace, ExitStack() as stack:
        pool = LoopPool(lab, namespace)
        with step("pushing the releases and serving the good one"):
            pool.prepare()
            pool.push(GOOD, releases.good)
            pool.push(BAD, releases.bad)
            pool.push_unsigned(UNSIGNED, releases.good)
            lab.apply(
                pool.object("v1", "ConfigMap", GOLDEN, data={"golden.jsonl": releases.golden}),
                pool.object("v1", "ConfigMap", LABELS, data={"train.jsonl": releases.labels}),
            )
            pool.serve(GOOD, context=releases.context, memory=_MEMORY)
        callers, watch = Callers(pool, releases.live, seed=seed), Watch(pool)
        stack.enter_context(watch.running())
        stack.enter_context(callers.running())
        yield pool, watch, callers


def _kills(lab: Lab, releases: Prepared, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Play what was not played yet, and give the results of all."""
    kept = ROOT / "build" / "bench" / f"loop-kills-{options.seed}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    targets = (*EVERYWHERE, TRAINER) if releases.labels else EVERYWHERE
    planned = blows(options.seed, options.kills, targets)
    done = {line["blow"]["number"]: line for line in _lines(kept)}
    left = [blow for blow in planned if blow.number not in done]
    if left:
        # Another start has other sessions: what is in the log under one name was asked in one run.
        with (
            _pool(lab, releases, seed=time.time_ns()) as (pool, watch, callers),
            Progress("kills", len(left)) as progress,
        ):
            killer = Killer(
                *(Rollouts(pool, watch, questions=GOLDEN), callers),
                stable=GOOD,
                bad=BAD,
                unsigned=UNSIGNED,
                trained=_training(),
            )
            for blow in left:
                line = killer.play(blow).as_json()
                with kept.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                done[blow.number] = line
                for violation in line["violations"]:
                    print(f"violated in loop {blow.number}: {violation}", file=sys.stderr, flush=True)
                progress.advance(f"{blow.target} at {line['killed_at'] or 'rest'}: {line['verdict']}")
    return [done[blow.number] for blow in planned]


def _lines(kept: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def _training() -> Callable[[str], dict[str, Any]]:
    """What makes a candidate that is trained on the shuffled labels when its turn comes."""
    topics = ",".join(prepared.KNOWN_TOPICS)

    def candidate(name: str) -> dict[str, Any]:
        train = {
            "data": [{"configMapRef": {"name": LABELS}}],
            "hyperparameters": {"replayTopics": topics},
            "output": {"uri": "pvc://models"},
            "signing": {"secretKeyRef": {"name": "release-signer", "key": "key.pem"}},
        }
        return {"name": name, "train": train}

    return candidate


if __name__ == "__main__":
    sys.exit(main())
