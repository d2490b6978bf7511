"""Benchmark of reinforcement learning, in parts; ``--part NAME`` runs one. See each part for what it does."""

from __future__ import annotations

import argparse
import importlib
import os

from report import publish

PARTS = ("serving", "classic", "language", "staleness")
"""Modules beside this one, each with ``figures(*, runs: int) -> list[Figure]``."""


def main() -> None:
    """Run the parts and publish what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="by default all")
    parser.add_argument("--runs", type=int, default=5, help="runs of everything that is timed")
    arguments = parser.parse_args()
    print(f"Load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n", flush=True)
    found = []
    for part in arguments.part or PARTS:
        found += importlib.import_module(part).figures(runs=arguments.runs)
    publish("rl", found)
    print(f"Load of the machine after: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
