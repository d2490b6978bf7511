"""Reproducible choices: the same seed gives the same draw on every Python version.

`random.Random.random` is the one method whose sequence Python promises to keep;
everything here is made from it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Draw:
    """A stream of choices.

    Parameters
    ----------
    *names
        What the stream is for; streams of different names are independent.
    """

    def __init__(self, *names: str | int) -> None:
        # Not for secrets: the point is that everybody can draw the same again.
        self._random = random.Random("/".join(map(str, names)))  # noqa: S311

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""
        return int(self._random.random() * limit)

    def among(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different places of `items`, in random order."""
        pool = list(items)
        for place in range(count):
            other = place + self.below(len(pool) - place)
            pool[place], pool[other] = pool[other], pool[place]
        return pool[:count]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """All items in random order."""
        return self.sample(items, len(items))
