"""What every bench reports: figures beside a peer's, as a Markdown table and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What a figure should reach: shown, never asserted.

    Parameters
    ----------
    text
        The aim in words.
    reached
        Whether the medians, ours and the peer's, reach it.
    """

    text: str
    reached: Callable[[float, float | None], bool]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured quantity: a value for each run, in the order of the runs."""

    metric: str
    unit: str
    ours: Sequence[float]
    peer: Sequence[float] = ()
    peer_name: str = ""
    aim: Aim | None = None

    def met(self) -> bool | None:
        """Whether the aim is reached; None where there is none."""
        if self.aim is None:
            return None
        return self.aim.reached(
            statistics.median(self.ours), statistics.median(self.peer) if self.peer else None
        )

    def as_json(self) -> dict[str, Any]:
        """The figure in the schema of `build/bench/<name>.json`."""
        return {
            "metric": self.metric,
            "unit": self.unit,
            "ours": _summary(self.ours),
            "peer": _summary(self.peer) if self.peer else None,
            "peer_name": self.peer_name,
            "aim": self.aim.text if self.aim else None,
            "met": self.met(),
            "runs": len(self.ours),
        }


def publish(name: str, figures: Sequence[Figure]) -> None:
    """Print the table and write `build/bench/<name>.json`."""
    target = ROOT / "build" / "bench" / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "name": name,
        "commit": _commit(),
        "machine": _machine(),
        "figures": [figure.as_json() for figure in figures],
    }
    target.write_text(json.dumps(document, indent=2) + "\n")
    print(table(figures))
    print(f"\nMedian (minimum to maximum) on {document['machine']}, written to {target.relative_to(ROOT)}\n")


def table(figures: Sequence[Figure]) -> str:
    """Give the figures as a Markdown table."""
    rows = ["| metric | unit | ours | peer | aim | met | runs |", "|---|---|---|---|---|---|---|"]
    for figure in figures:
        met = {None: "", True: "yes", False: "no"}[figure.met()]
        peer = f"{_spread(figure.peer)} ({figure.peer_name})" if figure.peer else ""
        cells = [figure.metric, figure.unit, _spread(figure.ours), peer]
        cells += [figure.aim.text if figure.aim else "", met, str(len(figure.ours))]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _summary(values: Sequence[float]) -> dict[str, float]:
    named = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 4) for name, value in named.items()}


def _spread(values: Sequence[float]) -> str:
    median = f"{statistics.median(values):.4g}"
    return median if len(values) == 1 else f"{median} ({min(values):.4g} to {max(values):.4g})"


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or "unknown"


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"
