"""``curves.jsonl``: how a run went, one JSON object a line, each step once."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FILE = "curves.jsonl"


class Curves:
    """The curves of one seed.

    Parameters
    ----------
    directory
        Of the seed; it is made where it does not exist.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / FILE

    def resume(self, step: int) -> None:
        """Forget what lies behind `step`: it will be done again."""
        if not self._path.is_file():
            return
        kept = [line for line in read(self._path) if line["step"] <= step]
        partial = self._path.with_name(f".{FILE}")
        partial.write_text("".join(map(_encode, kept)), encoding="utf-8")
        partial.replace(self._path)

    def append(self, points: Iterable[Mapping[str, Any]]) -> None:
        """Add points, each with its `step`; values that are no finite numbers are left out."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_encode, points)))


def read(path: Path) -> list[dict[str, Any]]:
    """Read curves; a last line that was cut off is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def _encode(point: Mapping[str, Any]) -> str:
    said = {
        name: round(value, 8) if isinstance(value, float) else value
        for name, value in point.items()
        if value is not None and (not isinstance(value, float) or math.isfinite(value))
    }
    return json.dumps(said) + "\n"
