"""Which episodes stay, where not all do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # it ships no types

from innervate_rl.experience import episodes
from innervate_rl.experience.rows import Split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHOWN: Final = 3
"""Episodes of each sort that a report shows."""


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


class _Known(NamedTuple):
    """What is remembered of an episode whose rows are written."""

    gained: float
    rows: int


class Best:
    """Keeps the valid training episodes of the highest returns, and of the evaluation what is to be shown.

    Of equal returns the earlier episode stays. Rows are written once, when they come, unless their
    episode is worse than those known; what another takes the place of later is dead where it stands,
    until the living are put together anew. So the cost is linear in the rows, and memory holds a
    bounded number of them, besides the few episodes to be shown.

    Parameters
    ----------
    count
        Training episodes that stay; 0 keeps none.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[int, _Known] = {}
        self._open: dict[int, _Known] = {}
        """Episodes that are not at their end."""
        self._shown: Any = None
        """Rows of the evaluation's episodes that are to be shown."""
        self._written: set[int] = set()
        """Those of them that are in a part."""
        self._fresh: list[Any] = []
        """Rows that nobody has looked at."""
        self._settled: list[Any] = []
        """Rows of episodes that stay, as far as is known."""

    @property
    def waiting(self) -> int:
        """Rows that are in memory."""
        return sum(table.num_rows for table in (*self._fresh, *self._settled))

    @property
    def live(self) -> list[int]:
        """Numbers of the episodes that stay, in order."""
        return sorted({*self._kept, *self._open, *self._shown_numbers()})

    @property
    def live_rows(self) -> int:
        """Rows of these episodes."""
        shown = 0 if self._shown is None else self._shown.num_rows
        return shown + sum(one.rows for one in (*self._kept.values(), *self._open.values()))

    def add(self, table: Any) -> None:
        """Take rows of any split."""
        self._fresh.append(table)

    def take(self) -> Any:
        """Table of the rows to be written now; None where there was never a row."""
        self._settle()
        tables = list(self._settled)
        if self._shown is not None:
            new = [number for number in self._shown_numbers() if number not in self._written]
            tables.append(only(self._shown, new))
            self._written = set(self._shown_numbers())
        self._settled = [tables[0].slice(0, 0)] if tables else []
        return only(together(tables), self.live) if tables else None

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "kept": [[number, *one] for number, one in self._kept.items()],
            "open": [[number, *one] for number, one in self._open.items()],
            "shown": self._shown_numbers(),
        }

    def restore(self, document: Mapping[str, Any], shown: Any) -> None:
        """Go on where another attempt was.

        Parameters
        ----------
        document
            Of `document`.
        shown
            Rows of the episodes to be shown; None where there are none.
        """
        self._kept = {number: _Known(*known) for number, *known in document["kept"]}
        self._open = {number: _Known(*known) for number, *known in document["open"]}
        self._shown, self._written = shown, set(document["shown"])

    def _settle(self) -> None:
        if not self._fresh:
            return
        whole = together(self._fresh)
        self._fresh = []
        training = pc.equal(whole.column("split").cast(pa.string()), str(Split.TRAINING))
        found = episodes.arrange(whole.filter(training))
        for index, number in enumerate(found.number.tolist()):
            before = self._open.pop(number, _Known(0.0, 0))
            gained = before.gained + float(found.returns[index])
            known = _Known(gained, before.rows + int(found.length[index]))
            if not found.ended[index]:
                self._open[number] = known
            elif found.valid[index]:
                self._kept[number] = known
        if len(self._kept) > self._count:
            order = sorted(self._kept, key=lambda number: (-self._kept[number].gained, number))
            self._kept = {number: self._kept[number] for number in order[: self._count]}
        self._settled.append(only(found.rows, self.live))
        self._show(whole.filter(pc.invert(training)))

    def _show(self, evaluation: Any) -> None:
        if not evaluation.num_rows:
            return
        known = [evaluation] if self._shown is None else [self._shown, evaluation]
        found = episodes.arrange(together(known))
        newest = episodes.column(found.rows, "iteration")[found.start]
        found = episodes.arrange(found.only(newest == newest.max()))
        stays = np.zeros(len(found.number), bool)
        for sort in to_look_at(found):
            stays[sort] = True
        self._shown = found.only(stays)

    def _shown_numbers(self) -> list[int]:
        if self._shown is None:
            return []
        return sorted(set(self._shown.column("episode").to_pylist()))


def living(document: Mapping[str, Any]) -> list[int]:
    """Numbers of the episodes that stay, by what a part's metadata say of them."""
    return [*(number for number, *_ in (*document["kept"], *document["open"])), *document["shown"]]


def only(table: Any, numbers: Sequence[int]) -> Any:
    """Rows of the episodes of these numbers."""
    return table.filter(pa.array(np.isin(episodes.column(table, "episode"), np.asarray(numbers, np.int64))))


def together(tables: Sequence[Any]) -> Any:
    """One table of several, with each text that repeats held once."""
    return pa.concat_tables(tables, promote_options="permissive").unify_dictionaries()
