"""Which episodes stay, where not all do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # it ships no types

from innervate_rl.experience import episodes
from innervate_rl.experience.rows import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN: Final = 3
"""Episodes of each sort that a report shows."""
_SETTLE_ROWS: Final = 1 << 16
"""Rows that wait at least before it is decided again which episodes stay."""


class Sorts(NamedTuple):
    """Indices of the episodes to look at, the most telling first; none is in two sorts."""

    best: list[int]
    worst: list[int]
    rarest: list[int]


def to_look_at(found: episodes.Episodes, count: int = SHOWN) -> Sorts:
    """Best, worst and rarest of the episodes that ended and count."""
    taken: set[int] = set()
    usable = np.flatnonzero(found.valid & found.ended)

    def choose(key: episodes.Array) -> list[int]:
        order = usable[np.lexsort((found.number[usable], key[usable]))]
        chosen = [int(index) for index in order if index not in taken][:count]
        taken.update(chosen)
        return chosen

    return Sorts(
        choose(-found.returns), choose(found.returns), choose(-episodes.rarity(episodes.features(found)))
    )


class Best:
    """Keeps the valid training episodes of the highest returns, and of the evaluation what is to be shown.

    Of equal returns the earlier episode stays. Memory holds what is kept, the episodes that are not
    at their end, and a bounded number of rows that wait for the decision.

    Parameters
    ----------
    count
        Training episodes that stay; 0 keeps none.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._rows: Any = None
        self._waiting: list[Any] = []
        self._waiting_rows = 0

    def add(self, table: Any) -> None:
        """Take rows of any split."""
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows > max(_SETTLE_ROWS, self._rows.num_rows if self._rows is not None else 0):
            self._settle()

    def rows(self) -> Any:
        """Table of what stays as it is now; None where there was never a row."""
        self._settle()
        return self._rows

    def _settle(self) -> None:
        tables = [self._rows, *self._waiting] if self._rows is not None else self._waiting
        self._waiting, self._waiting_rows = [], 0
        if tables:
            whole = together(tables)
            training = pc.equal(whole.column("split").cast(pa.string()), str(Split.TRAINING))
            kept = self._best(episodes.arrange(whole.filter(training)))
            shown = self._shown(episodes.arrange(whole.filter(pc.invert(training))))
            self._rows = together([kept, shown])

    def _best(self, found: episodes.Episodes) -> Any:
        stays = ~found.ended
        usable = np.flatnonzero(found.valid & found.ended)
        order = np.lexsort((found.number[usable], -found.returns[usable]))
        stays[usable[order[: self._count]]] = True
        return found.only(stays)

    def _shown(self, found: episodes.Episodes) -> Any:
        stays = np.zeros(len(found.number), bool)
        if len(stays):
            newest = episodes.column(found.rows, "iteration")[found.start]
            found = episodes.arrange(found.only(newest == newest.max()))
            stays = np.zeros(len(found.number), bool)
            for sort in to_look_at(found):
                stays[sort] = True
        return found.only(stays)


def together(tables: Sequence[Any]) -> Any:
    """One table of several, with each text that repeats held once."""
    return pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
