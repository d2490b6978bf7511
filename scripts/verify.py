"""Checks that need no cluster: format, lint, types, import rules, generated files.

Each check prints one line; a failing one prints its output and how to mend it.
"""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECKS = {
    "format": (["ruff", "format", "--check", "--quiet", "."], "run `make format`"),
    "lint": (["ruff", "check", "--quiet", "."], "run `make format`, mend what remains"),
    "imports": (["lint-imports"], "move the import, or the code, to the room it belongs to"),
    "types": (["mypy"], "mend the types named above"),
    "crds": ([sys.executable, "-m", "innervate_kinds.crdgen", "--check"], "run `make generate`"),
}


def generated_protos_differ() -> list[str]:
    """Generate the protos' code elsewhere and name the committed files that differ."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([ROOT / "scripts/protos", directory], check=True, capture_output=True, cwd=ROOT)
        fresh = {path.relative_to(directory): path for path in _generated(Path(directory))}
        committed = {path.relative_to(ROOT / "proto") for path in _generated(ROOT / "proto")}
        differing = [
            str(name)
            for name, path in fresh.items()
            if name not in committed or not filecmp.cmp(path, ROOT / "proto" / name, shallow=False)
        ]
        return sorted(differing + [str(name) for name in committed - fresh.keys()])


def _generated(directory: Path) -> list[Path]:
    return [path for pattern in ("*_pb2*.py", "*_pb2*.pyi") for path in directory.rglob(pattern)]


def main() -> int:
    """Run every check and return 1 if any failed."""
    failed = False
    for name, (command, mend) in CHECKS.items():
        start = time.monotonic()
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        print(f"{'ok  ' if result.returncode == 0 else 'FAIL'} {name} ({time.monotonic() - start:.1f} s)")
        if result.returncode:
            failed = True
            print(f"{result.stdout}{result.stderr}\n  to mend: {mend}")
    differing = generated_protos_differ()
    print(f"{'FAIL' if differing else 'ok  '} protos")
    if differing:
        failed = True
        print("\n".join(differing), "\n  to mend: run `make generate`")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
