"""Rollouts of a bad release, taken back by what callers say of it: how long the way back takes."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, NamedTuple

from loop_callers import Tally
from loop_rollouts import released
from progress import Progress

if TYPE_CHECKING:
    from loop_callers import Callers
    from loop_rollouts import Rollouts
    from loop_watch import Way

_PERCENTS = (10, 20, 30, 40, 50)
_WITHIN_SECONDS = 300
_LOOKED_SECONDS = 0.05


class Rollbacks(NamedTuple):
    """What was measured."""

    ways: list[Way]
    loops: list[float]
    """Seconds of whole loops: from the declared candidate to its end."""
    tally: Tally
    strays: int
    """Answers of the bad release to requests begun after the pool had acknowledged the way back."""


def measure(
    rollouts: Rollouts, callers: Callers, *, stable: str, bad: str, loops: int, seed: int
) -> Rollbacks:
    """Let the bad release try again and again.

    Parameters
    ----------
    rollouts, callers
        The pipeline, and who asks meanwhile.
    stable, bad
        The releases.
    loops, seed
        How often, and of the shares that it gets.
    """
    draw = random.Random(seed)
    ways, times, strays = [], [], 0
    callers.take()
    told = Tally()
    with Progress("rollbacks", loops) as progress:
        for number in range(loops):
            name, percent = f"c-{number}", draw.choice(_PERCENTS)
            begun = time.monotonic()
            rollouts.declare([released(name, bad)], percent=percent)
            way = _await(rollouts, name, stable)
            times.append(time.monotonic() - begun)
            ways.append(way)
            met = callers.take()
            detected = rollouts.watch.detection(name)
            settled = (detected.time if detected else begun) + max(way)
            strays += sum(each.release == bad and each.begun > settled for each in met.answered)
            told.answered += met.answered
            told.failures += met.failures
            told.unreported += met.unreported
            progress.advance(f"{way.acknowledged:.2f} s at {percent} %")
    return Rollbacks(ways, times, told, strays)


def _await(rollouts: Rollouts, name: str, stable: str) -> Way:
    deadline = time.monotonic() + _WITHIN_SECONDS
    while True:
        entry, way = rollouts.entry(name), rollouts.watch.way_back(name, stable)
        if entry and way:
            return way
        if entry and entry["reason"] != "Detected":
            raise RuntimeError(f"candidate {name} ended otherwise: {entry}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"candidate {name} was not taken back: {rollouts.watch.status}")
        time.sleep(_LOOKED_SECONDS)
