"""``python3 -m innervate_rl.run_report``: the report of a run's directory as HTML, on standard output.

Exit codes: 0 done; 2 there is nothing to report, or the files are damaged (told on standard error).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_rl.experience.parts import PartError
from innervate_rl.run_report import About, found
from innervate_rl.run_report.page import page
from innervate_rl.settings import RUN

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Report once; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="innervate_rl.run_report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run = Path(os.environ.get("INNERVATE_RUN") or RUN)
    parser.add_argument("--run", type=Path, default=run, help="the run's directory")
    parser.add_argument("--seed", type=int, help="left out: all")
    parser.add_argument(
        "--about", default="{}", help="JSON: name, environment, algorithm, gate, seeds, outcome"
    )
    chosen = parser.parse_args(arguments)
    try:
        about = About.model_validate_json(chosen.about)
        seeds = found.read(chosen.run, chosen.seed)
    except (PartError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    if not seeds:
        sys.stderr.write("no seed has begun yet\n")
        return REFUSED
    sys.stdout.write(page(seeds, about))
    return 0


if __name__ == "__main__":
    sys.exit(main())
