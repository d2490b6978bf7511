"""Benchmark of reinforcement learning, in parts; ``--part NAME`` runs one. See each part for what it does."""

from __future__ import annotations

import argparse
import importlib
import os

from report import publish

PARTS = {
    "serving": ("runs",),
    "classic": ("runs",),
    "language": ("runs",),
    "staleness": ("runs",),
    "kills": ("kills", "seed", "keep"),
}
"""Modules beside this one, each with ``figures(…) -> list[Figure]``, and the options that it takes."""


def main() -> None:
    """Run the parts and publish what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="by default all")
    parser.add_argument("--runs", type=int, default=5, help="runs of everything that is timed")
    parser.add_argument("--kills", type=int, default=20, help="runs in which something is killed or cut off")
    parser.add_argument("--seed", type=int, default=1, help="of the kills")
    parser.add_argument("--keep", action="store_true", help="leave the cluster of the kills up")
    arguments = parser.parse_args()
    print(f"Load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n", flush=True)
    found = []
    for part in arguments.part or PARTS:
        options = {name: getattr(arguments, name) for name in PARTS[part]}
        found += importlib.import_module(part).figures(**options)
    publish("rl", found)
    print(f"Load of the machine after: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
