"""How far a long measurement is, on standard error."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Progress:
    """One line that is written over where a person looks on; else a line now and then.

    Parameters
    ----------
    what, count
        What is counted, and how many there will be.
    """

    def __init__(self, what: str, count: int) -> None:
        self._what, self._count = what, count
        self._done = 0
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if sys.stderr.isatty():
            print(file=sys.stderr)

    def advance(self, told: str) -> None:
        """Count one more, with a word about it."""
        self._done += 1
        took = time.monotonic() - self._begun
        left = took / self._done * (self._count - self._done)
        line = f"{self._what}: {self._done} of {self._count}, {told}, {left:.0f} s left"
        if sys.stderr.isatty():
            print(f"\r{line:<100}", end="", file=sys.stderr, flush=True)
        elif self._done % max(1, self._count // 30) == 0 or self._done == self._count:
            print(line, file=sys.stderr, flush=True)
