"""``python3 -m innervate_rl.experience``: exports a run's experience as a tar archive to standard output.

The last line on standard error is JSON: what was exported, or ``{"error": …}``. Exit codes: 0 done;
2 there is nothing to export, or the experience is damaged.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_rl.experience.curation import Distinct, Rules
from innervate_rl.experience.export import ExportError, Format, Request, stream
from innervate_rl.experience.parts import PartError
from innervate_rl.experience.rows import Split
from innervate_rl.settings import RUN

if TYPE_CHECKING:
    from collections.abc import Sequence

REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Export once; returns the exit code."""
    chosen = _parser().parse_args(arguments)
    rules = Rules(
        split=chosen.split,
        valid=not chosen.void,
        lowest=chosen.lowest,
        highest=chosen.highest,
        distinct=chosen.distinct,
        balance=chosen.balance,
        success=chosen.success,
    )
    request = Request(chosen.name, chosen.format, rules, tuple(chosen.seed))
    try:
        account = stream(chosen.run, sys.stdout.buffer, request)
    except (ExportError, PartError) as error:
        sys.stderr.write(json.dumps({"error": str(error)}) + "\n")
        return REFUSED
    sys.stderr.write(json.dumps(account) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = Rules()
    parser = argparse.ArgumentParser(
        prog="innervate_rl.experience",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run = Path(os.environ.get("INNERVATE_RUN") or RUN)
    parser.add_argument("--run", type=Path, default=run, help="the run's directory")
    parser.add_argument("--name", required=True, help="of the data set")
    parser.add_argument("--format", type=Format, choices=list(Format), default=Format.PARQUET)
    parser.add_argument("--seed", type=int, action="append", default=[], help="repeatable; left out: all")
    parser.add_argument("--split", type=Split, choices=list(Split), help="left out: both")
    parser.add_argument("--void", action="store_true", help="void episodes too")
    parser.add_argument("--lowest", type=float, help="return from which an episode counts")
    parser.add_argument("--highest", type=float, help="return up to which it does")
    parser.add_argument("--distinct", type=Distinct, choices=list(Distinct), default=defaults.distinct)
    parser.add_argument("--balance", action="store_true", help="cut over-full classes of difficulty")
    parser.add_argument("--success", type=float, default=defaults.success, help="return of a success")
    return parser


if __name__ == "__main__":
    sys.exit(main())
