"""Writes the generated files, or checks that the committed ones are up to date."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

import yaml

from innervate_kinds.crdgen import crd, rbac, reference
from innervate_kinds.registry import ROOMS

_HEADER = "# Generated from the models by `make generate`; edit those.\n"
_CHART = "charts/innervate/files"
_GENERATED = ("crds/*.yaml", f"{_CHART}/crds/*.yaml", f"{_CHART}/rbac.yaml", "docs/reference/*.md")
"""Patterns whose files are all ours: one that is generated no more is to go."""


class _Dumper(yaml.SafeDumper):
    """Writes every value out, where YAML would refer to an earlier equal one."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A text; quoted where kubectl and helm would read it as true or false, which YAML 1.1 allows."""
    style = "'" if text in {"y", "Y", "n", "N"} else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted)


def files() -> dict[str, str]:
    """Every generated file: path below the root, and content."""
    result = {f"{_CHART}/rbac.yaml": _yaml(rbac.rules(ROOMS))}
    for room in ROOMS:
        definition = _yaml(crd.definition(room))
        for folder in ("crds", f"{_CHART}/crds"):
            result[f"{folder}/{crd.name(room)}.yaml"] = definition
        result[f"docs/reference/{room.kind.kind.lower()}.md"] = reference.page(room)
    return result


def stale(root: Path) -> set[Path]:
    """Files that are generated no more."""
    there = {path for pattern in _GENERATED for path in root.glob(pattern)}
    return there - {root / name for name in files()}


def main() -> int:
    """Write or check the files; returns 1 when the check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m innervate_kinds.crdgen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; show what differs")
    parser.add_argument("--output", type=Path, default=Path(), help="root of the tree to write to")
    arguments = parser.parse_args()
    root: Path = arguments.output
    return _check(root) if arguments.check else _write(root)


def _write(root: Path) -> int:
    for path in stale(root):
        path.unlink()
    for name, text in files().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _check(root: Path) -> int:
    differences = [f"{path.relative_to(root)} is generated no more\n" for path in sorted(stale(root))]
    for name, text in sorted(files().items()):
        path = root / name
        committed = path.read_text(encoding="utf-8") if path.exists() else ""
        differences += difflib.unified_diff(
            committed.splitlines(keepends=True), text.splitlines(keepends=True), name, f"{name} (generated)"
        )
    sys.stdout.writelines(differences)
    if differences:
        sys.stdout.write("generated files are out of date: run `make generate` and commit what it writes\n")
    return int(bool(differences))


def _yaml(value: object) -> str:
    return _HEADER + yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main())
