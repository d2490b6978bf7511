"""The MemoryStore room as runtime takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)
from innervate_kinds.api.room import Room, Scope, Watch
from innervate_kinds.compute_pool.model import COMPUTE_POOL
from innervate_kinds.memory_store.model import DEFINITION, MemoryStore
from innervate_kinds.memory_store.observe import observe, references
from innervate_kinds.memory_store.plan import plan
from innervate_kinds.memory_store.probe import probes
from innervate_kinds.memory_store.status import status

if TYPE_CHECKING:
    from innervate_kinds.memory_store.state import Observed

ROOM: Room[MemoryStore, Observed] = Room(
    definition=DEFINITION,
    model=MemoryStore,
    children=(
        SERVICE_ACCOUNT,
        CONFIG_MAP,
        PERSISTENT_VOLUME_CLAIM,
        NETWORK_POLICY,
        SERVICE,
        STATEFUL_SET,
        DEPLOYMENT,
        POD_DISRUPTION_BUDGET,
    ),
    ensured=(SECRET,),
    watches=(
        Watch(POD, Scope.OWNED),
        Watch(COMPUTE_POOL, Scope.ALL),
        Watch(NAMESPACE, Scope.METADATA),
    ),
    references=references,
    probes=probes,
    observe=observe,
    plan=plan,
    status=status,
)
