"""Puzzles with one right answer each, in two halves: tasks to train on, and tasks that training never shows.

python3 -m innervate_rl.grpo.puzzles reversal --training 2000 --evaluation 400 > tasks.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from innervate_models.chance import Draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Split = Literal["training", "evaluation"]

_HELD_OUT: Final = 5
"""One puzzle in so many is for evaluation, by the digest of its text."""
_SHORTEST, _LONGEST = 3, 5
_LETTERS: Final = "abc"


class Puzzle(NamedTuple):
    """A question and its answer."""

    prompt: str
    answer: str


def _reversal(draw: Draw) -> Puzzle:
    digits = "".join(str(draw.below(10)) for _ in range(_SHORTEST + draw.below(_LONGEST - _SHORTEST + 1)))
    return Puzzle(f"Reverse {digits}.", digits[::-1])


def _addition(draw: Draw) -> Puzzle:
    first, second = (100 + draw.below(900) for _ in range(2))
    return Puzzle(f"What is {first} plus {second}?", str(first + second))


def _counting(draw: Draw) -> Puzzle:
    letters = [draw.among(_LETTERS) for _ in range(4 + draw.below(6))]
    asked = draw.among(_LETTERS)
    return Puzzle(f"How many {asked}: {' '.join(letters)}?", str(letters.count(asked)))


PUZZLES: Final[dict[str, Callable[[Draw], Puzzle]]] = {
    "reversal": _reversal,
    "addition": _addition,
    "counting": _counting,
}
"""Kinds: digits to reverse, numbers of three digits to add, letters to count."""


def puzzles(kind: str, split: Split, *, seed: int) -> Iterator[Puzzle]:
    """Draw puzzles of one half without end; the same may come again.

    Parameters
    ----------
    kind
        Out of `PUZZLES`.
    split
        Which half. No puzzle is in both, whatever the seeds.
    seed
        The same seed gives the same puzzles.
    """
    draw = Draw("puzzles", kind, split, seed)
    while True:
        puzzle = PUZZLES[kind](draw)
        if _split(puzzle) == split:
            yield puzzle


def task_lines(kind: str, *, training: int, evaluation: int, seed: int = 0) -> Iterator[str]:
    """Lines of a task set, ``{"id", "input", "expected", "split"}``, no puzzle twice."""
    counts: tuple[tuple[Split, int], ...] = (("training", training), ("evaluation", evaluation))
    for split, count in counts:
        found: dict[str, Puzzle] = {}
        for puzzle in puzzles(kind, split, seed=seed):
            if len(found) == count:
                break
            found[puzzle.prompt] = puzzle
        for number, puzzle in enumerate(found.values()):
            line = {
                "id": f"{kind}-{split}-{number}",
                "input": puzzle.prompt,
                "expected": [puzzle.answer],
                "split": split,
            }
            yield json.dumps(line)


def _split(puzzle: Puzzle) -> Split:
    drawn = hashlib.sha256(puzzle.prompt.encode()).digest()[0]
    return "evaluation" if drawn % _HELD_OUT == 0 else "training"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a task set."""
    parser = argparse.ArgumentParser(prog="innervate_rl.grpo.puzzles", description="Prints a task set.")
    parser.add_argument("kind", choices=sorted(PUZZLES))
    parser.add_argument("--training", type=int, default=2000, help="tasks to train on")
    parser.add_argument("--evaluation", type=int, default=400, help="tasks to evaluate on")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    lines = task_lines(
        options.kind, training=options.training, evaluation=options.evaluation, seed=options.seed
    )
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
