"""Benchmark of the memory service: quality of recall, latency of search, throughput of puts.

``--locomo PATH`` names a file of LoCoMo conversations (Maharana et al., ACL 2024; licence CC BY-NC 4.0, so
not part of this project) as published: a list of {"conversation": …, "qa": …}. Without it those rows are
left out.
"""

import argparse
import asyncio
import sys
from pathlib import Path

import latency
import locomo
import store
from report import publish


def main() -> int:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locomo", type=Path, help="file of LoCoMo conversations")
    options = parser.parse_args()
    figures = []
    if options.locomo is None:
        print("Quality of recall is left out: name a file with --locomo.\n")
    else:
        figures += locomo.measure(options.locomo)
    figures += latency.measure()
    figures += asyncio.run(store.measure())
    publish("memory", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
