"""Which task a slot gets next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from innervate_service.errors import InvalidArgument

from innervate_environments.tasks import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_environments.tasks import Split

_OPTIONS: Final = 'must be {"task": index, "split": "training" or "evaluation"}, both of them optional'
_MAX_SEED: Final = 2**63 - 1


class Place(NamedTuple):
    """Where a task is, and the seed for chance within it."""

    split: Split
    task: int
    seed: int


class Choice:
    """Chooses tasks for the slots of a lease.

    Parameters
    ----------
    slots
        How many slots.
    counts
        How many tasks each split has.
    """

    def __init__(self, slots: int, counts: Mapping[Split, int]) -> None:
        self._counts = counts
        self._chance = [np.random.default_rng() for _ in range(slots)]
        self._usual: Split = "training" if counts["training"] else "evaluation"

    def choose(
        self,
        slots: Sequence[int],
        seeds: Sequence[int] | None,
        options: Sequence[Mapping[str, Any]] | None,
    ) -> list[Place]:
        """Choose a task for each slot: the one that its options name, or any.

        Raises
        ------
        InvalidArgument
            Options are wrong; then nothing is chosen.
        """
        for at, option in enumerate(options or ()):
            self._check(option, f"options[{at}]")
        for at, slot in enumerate(slots if seeds is not None else ()):
            assert seeds is not None  # noqa: S101  or there would be no slots here
            self._chance[slot] = np.random.default_rng(seeds[at])
        return [self._choose(slot, options[at] if options else {}) for at, slot in enumerate(slots)]

    def _choose(self, slot: int, option: Mapping[str, Any]) -> Place:
        split: Split = option.get("split", self._usual)
        task, chance = option.get("task"), self._chance[slot]
        if task is None:
            task = int(chance.integers(self._counts[split]))
        return Place(split, task, int(chance.integers(_MAX_SEED)))

    def _check(self, option: Mapping[str, Any], field: str) -> None:
        split, task = option.get("split", self._usual), option.get("task")
        if not option.keys() <= {"task", "split"} or split not in SPLITS:
            raise InvalidArgument(field, option, _OPTIONS)
        count = self._counts[split]
        whole = isinstance(task, int) and not isinstance(task, bool)
        if not count:
            raise InvalidArgument(f"{field}.split", split, "has no tasks; name the other")
        if task is not None and not (whole and 0 <= task < count):
            raise InvalidArgument(f"{field}.task", task, f"must be 0 to {count - 1}")
