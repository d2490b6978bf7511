"""The ModelRelease room as runtime takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import JOB, NETWORK_POLICY, POD
from innervate_kinds.api.room import Room, Scope, Watch
from innervate_kinds.model_release.model import DEFINITION, ModelRelease
from innervate_kinds.model_release.observe import observe
from innervate_kinds.model_release.plan import plan
from innervate_kinds.model_release.status import status

if TYPE_CHECKING:
    from innervate_kinds.model_release.state import Observed

ROOM: Room[ModelRelease, Observed] = Room(
    definition=DEFINITION,
    model=ModelRelease,
    children=(NETWORK_POLICY, JOB),
    watches=(Watch(POD, Scope.OWNED),),
    observe=observe,
    plan=plan,
    status=status,
    acts_on=("job",),
)
