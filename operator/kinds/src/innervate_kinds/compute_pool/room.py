"""The ComputePool room as runtime takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import NODE
from innervate_kinds.api.room import Room, Scope, Watch
from innervate_kinds.compute_pool.model import DEFINITION, ComputePool
from innervate_kinds.compute_pool.observe import observe, references
from innervate_kinds.compute_pool.plan import plan
from innervate_kinds.compute_pool.status import status

if TYPE_CHECKING:
    from innervate_kinds.compute_pool.state import Observed

ROOM: Room[ComputePool, Observed] = Room(
    definition=DEFINITION,
    model=ComputePool,
    children=(),
    watches=(Watch(NODE, Scope.ALL),),
    references=references,
    observe=observe,
    plan=plan,
    status=status,
)
