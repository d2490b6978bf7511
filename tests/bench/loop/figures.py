"""What was measured, as figures beside their aims."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from report import Aim, Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flips import Flips
    from loop_callers import Tally
    from loop_watch import Way
    from rollbacks import Rollbacks

_FAST = Aim(text="p99 < 5", reached=lambda ours, _peer: ours < 5)
_NONE = Aim(text="0", reached=lambda ours, _peer: ours == 0)


def of_flips(measured: Flips) -> list[Figure]:
    """Flips: how long each took, and what callers met meanwhile."""
    rate = len(measured.tally.answered) / measured.seconds
    return [
        *_ways("flip applied", measured.ways),
        Figure(metric="load during the flips", unit="requests/s", ours=[rate]),
        *_failed("the flips", measured.tally),
    ]


def of_rollbacks(measured: Rollbacks) -> list[Figure]:
    """Rollbacks: how long each took, and what callers met meanwhile."""
    rate = len(measured.tally.answered) / sum(measured.loops)
    return [
        *_ways("detection persisted", measured.ways),
        Figure(
            metric="whole loop, from the declared candidate to its end",
            unit="s",
            ours=measured.loops,
            aim=Aim(text="≤ 60", reached=lambda ours, _peer: ours <= 60),
        ),
        Figure(metric="load during the loops", unit="requests/s", ours=[rate]),
        Figure(
            metric="answers of the bad release to requests begun after the acknowledgement",
            unit="",
            ours=[measured.strays],
            aim=_NONE,
        ),
        *_failed("the loops", measured.tally),
    ]


def of_kills(rounds: Sequence[dict[str, Any]]) -> list[Figure]:
    """Kills: how many hit, and what must never be."""
    hits = Counter(each["blow"]["target"] for each in rounds if each["victim"])
    told = ", ".join(f"{target} {count}" for target, count in sorted(hits.items()))

    def summed(field: str) -> list[float]:
        return [sum(each[field] for each in rounds)]

    return [
        Figure(metric=f"loops with a kill ({told})", unit="", ours=[hits.total()]),
        Figure(
            metric="of those, with the bad candidate under way",
            unit="",
            ours=[sum(bool(each["victim"] and each["killed_at"]) for each in rounds)],
        ),
        Figure(
            metric="violations in all of them: see docs/benchmarks.md",
            unit="",
            ours=[sum(len(each["violations"]) for each in rounds)],
            aim=_NONE,
        ),
        Figure(metric="answers that callers got", unit="", ours=summed("answered")),
        Figure(metric="of those, missing in the exchange log", unit="", ours=summed("lost"), aim=_NONE),
        Figure(metric="answers that eval jobs kept", unit="", ours=summed("samples")),
        Figure(
            metric="of those, asked again after they were kept",
            unit="",
            ours=summed("asked_again"),
            aim=_NONE,
        ),
        Figure(metric="requests that kills broke off or had refused", unit="", ours=summed("failed")),
        Figure(metric="loop with a kill", unit="s", ours=[each["seconds"] for each in rounds]),
    ]


def _ways(since: str, ways: Sequence[Way]) -> list[Figure]:
    found = []
    for until, seconds in (
        ("status.routes.acknowledged", [way.acknowledged for way in ways]),
        ("every gateway tells so itself", [way.served for way in ways]),
    ):
        found += [
            Figure(metric=f"{since} → {until}", unit="s", ours=seconds),
            Figure(metric="the same, p99", unit="s", ours=[_quantile(seconds, 0.99)], aim=_FAST),
        ]
    return found


def _failed(during: str, tally: Tally) -> list[Figure]:
    for failure in tally.failures[:3]:
        print(f"failed during {during}: {failure}")
    return [
        Figure(
            metric=f"failed requests during {during}, of {len(tally.answered) + len(tally.failures)}",
            unit="",
            ours=[len(tally.failures)],
            aim=_NONE,
        )
    ]


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]
