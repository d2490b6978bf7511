"""A dialogue with a calculator, as a package would provide it."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from innervate_environments.dialogue import Turn

MAX_TURNS = 5


class Calculator:
    """Adds for a policy that asks it to; ``answer X`` is its answer."""

    def begin(self, task: Mapping[str, Any], seed: int) -> str:
        self._turns = 0
        self._luck = random.Random(seed).randint(0, 999)
        return f"{task['input']} (known: {', '.join(sorted(task))})"

    def reply(self, answer: str) -> Turn:
        self._turns += 1
        word, _, rest = answer.partition(" ")
        match word:
            case "answer":
                return Turn("thank you", output=rest)
            case "add":
                return Turn(str(sum(map(int, rest.split()))))
            case "luck":
                return Turn(str(self._luck))
        return Turn("time is up", output="") if self._turns >= MAX_TURNS else Turn("add or answer")


@contextmanager
def installed(directory: Path) -> Iterator[None]:
    """Let processes that start now find this package as an installed one."""
    information = directory / "practice-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.4\nName: practice\nVersion: 0.1\n")
    (information / "entry_points.txt").write_text(
        "[innervate.dialogues]\ncalculator = practice_dialogue:Calculator\n"
    )
    path = f"{directory}:{Path(__file__).resolve().parent}"
    with patch.dict("os.environ", {"PYTHONPATH": path}):
        yield
