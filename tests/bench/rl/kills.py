"""RLRuns on a cluster of the bench's own, each struck once at a random moment.

A trainer or an environment's server is killed with SIGKILL, or the network of the node that one of them is on
is cut for a while. The runs may be broken off and gone on with: what is done is kept in
``build/bench/rl-kills-<seed>.jsonl``, and a number there is not played again.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from clusters import cluster
from innervate_local.progress import step
from kills_blows import Killer, blows, wrong
from kills_runs import BUDGETS, CORE, FAR, JAX, SERVED, Runs
from progress import Progress
from report import ROOT, Aim, Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kills_runs import Outcome

    from tests.e2e.lab import Lab

CLUSTER = "rlbench"
_END_SECONDS = 900
_NONE = Aim(text="0", reached=lambda ours, _peer: ours == 0)


def figures(*, kills: int, seed: int, keep: bool) -> list[Figure]:
    """Play what was not played yet, and give the figures of all.

    Parameters
    ----------
    kills
        How many runs are struck.
    seed
        Of what is struck when.
    keep
        Whether the cluster stays.
    """
    print(f"seed {seed}", file=sys.stderr, flush=True)
    kept = ROOT / "build" / "bench" / f"rl-kills-{seed}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    done = {line["blow"]["number"]: line for line in _lines(kept)}
    if any(blow.number not in done for blow in blows(seed, kills)):
        with cluster(CLUSTER, keep=keep) as lab:
            _play(lab, kept, done, kills=kills, seed=seed)
    return _told([done[blow.number] for blow in blows(seed, kills)])


def _play(lab: Lab, kept: Path, done: dict[int, dict[str, Any]], *, kills: int, seed: int) -> None:
    left = [blow for blow in blows(seed, kills) if blow.number not in done]
    # A bench that was killed itself may have left it cut.
    lab.cluster.heal_edge()
    with lab.namespace("kills") as namespace:
        runs = Runs(lab, namespace)
        with step("starting the environments"):
            runs.prepare()
        killer = Killer(runs, _undisturbed(runs))
        with Progress("kills", len(left)) as progress:
            for blow in left:
                name = f"struck-{blow.number}"
                round_ = killer.play(blow, name)
                done[blow.number] = round_.as_json()
                with kept.open("a") as file:
                    file.write(json.dumps(done[blow.number]) + "\n")
                for violation in round_.violations:
                    print(f"violated in run {blow.number}: {violation}", file=sys.stderr, flush=True)
                if round_.violations:
                    kept.with_name(f"rl-kills-{seed}-{blow.number}.txt").write_text(runs.story(name))
                else:
                    runs.forget(name)
                at = "rest" if round_.struck_at is None else f"step {round_.struck_at}"
                progress.advance(f"{blow.target} at {at}: {round_.verdict}, {round_.seconds:.0f} s")


def _undisturbed(runs: Runs) -> dict[str, Outcome]:
    """What runs come to that nobody disturbs; which node the service is on makes no difference."""
    found = {}
    with step("letting runs go that nobody disturbs"):
        for environment in (JAX, SERVED):
            name = f"undisturbed-{environment}"
            runs.declare(name, environment, CORE)
            deadline = time.monotonic() + _END_SECONDS
            while "endTime" not in runs.status(name):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"run {name} does not end:\n{runs.story(name)}")
                time.sleep(1)
            left = runs.left(name)
            problems = wrong(left, left.outcome, BUDGETS[environment])
            if runs.succeeded(name)[0] != "True" or problems:
                raise RuntimeError(f"run {name} went wrong: {problems}\n{runs.story(name)}")
            found[environment] = left.outcome
            runs.forget(name)
    return found | {FAR: found[SERVED]}


def _lines(kept: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def _told(rounds: Sequence[dict[str, Any]]) -> list[Figure]:
    met = [each for each in rounds if each["struck_at"] is not None]
    hits = Counter(each["blow"]["target"] for each in met)
    told = ", ".join(f"{target} {count}" for target, count in sorted(hits.items()))
    violated = Counter(violation.partition(":")[0] for each in rounds for violation in each["violations"])
    for violation, times in violated.items():
        print(f"violated {times} times: {violation}")

    def count(metric: str, ours: float, aim: Aim | None = None) -> Figure:
        return Figure(metric=metric, unit="", ours=[ours], aim=aim)

    return [
        count(f"runs that were struck ({told})", len(met)),
        count("of those, at which the trainer began anew", sum(each["attempts"] > 0 for each in met)),
        count("runs", len(rounds)),
        count("violations: see docs/benchmarks.md", sum(len(each["violations"]) for each in rounds), _NONE),
        count(
            "rows of experience, held to those of the undisturbed run", sum(each["rows"] for each in rounds)
        ),
        count("episodes that runs counted as void", sum(each["infrastructure"] for each in rounds)),
        Figure(metric="run that is struck", unit="s", ours=[each["seconds"] for each in rounds]),
    ]
