"""Which task is asked when, and which ones are done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_models.chance import Draw

if TYPE_CHECKING:
    from collections.abc import Mapping


class Order:
    """All tasks in random order, then all in another.

    Parameters
    ----------
    count
        How many tasks there are.
    seed
        Of the orders.
    """

    def __init__(self, count: int, *, seed: int) -> None:
        self.count = count
        """How many tasks there are."""
        self._seed = seed
        self._orders: dict[int, list[int]] = {}

    def task(self, position: int) -> int:
        """The task at a position, a function of the position alone."""
        epoch, place = divmod(position, self.count)
        if epoch not in self._orders:
            # Prompts that are asked again come from this round or the one before.
            self._orders = {known: order for known, order in self._orders.items() if known >= epoch - 1}
            self._orders[epoch] = Draw("prompts", self._seed, epoch).shuffled(range(self.count))
        return self._orders[epoch][place]


class Cursor(NamedTuple):
    """Which positions of the order are done: part of every checkpoint.

    All before `next` are, but for `owed`. So each prompt counts once for each committed checkpoint: what was
    asked behind it and not learned from is asked again by the run that goes on from there.
    """

    next: int = 0
    owed: tuple[int, ...] = ()
    aside: tuple[int, ...] = ()
    """Tasks, not positions, that are asked no more: they failed again and again."""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"next": self.next, "owed": list(self.owed), "aside": list(self.aside)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Cursor:
        """Back from JSON."""
        return cls(document["next"], tuple(document["owed"]), tuple(document["aside"]))
