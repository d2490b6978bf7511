"""Runs benchmarks: all of them, or those named on the command line.

A benchmark is a folder beside this file with a ``bench.py``; arguments after its name go to it. It finds
what benchmarks share (``report.py``) beside this file, what it shares with tests in ``equipment``, and tests
themselves as ``tests``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(arguments: list[str]) -> int:
    """Run what was asked for and return the worst exit status."""
    known = sorted(path.parent.name for path in HERE.glob("*/bench.py"))
    if arguments and arguments[0] not in known:
        print(f"no benchmark {arguments[0]!r}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    worst = 0
    for name in arguments[:1] or known:
        print(f"## {name}\n", flush=True)
        command = [sys.executable, str(HERE / name / "bench.py"), *arguments[1:]]
        shared = os.pathsep.join(map(str, (HERE, HERE.parent / "equipment", HERE.parents[1])))
        environment = os.environ | {"PYTHONPATH": shared}
        worst = max(worst, subprocess.run(command, env=environment, check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
