"""All that a decision about a pool may depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal


@dataclass(frozen=True, slots=True)
class PoolNode:
    """One node of the pool.

    Parameters
    ----------
    name
        Its name.
    ready
        Whether its kubelet reports ready.
    schedulable
        Whether it is not cordoned.
    allocatable
        What it offers to pods, by resource name, in base units.
    """

    name: str
    ready: bool
    schedulable: bool
    allocatable: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Observed:
    """The pool's nodes, in order of their names."""

    nodes: tuple[PoolNode, ...]
