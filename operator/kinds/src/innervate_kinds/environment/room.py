"""The Environment room as runtime takes it."""

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
    SERVICE,
    SERVICE_ACCOUNT,
)
from innervate_kinds.api.room import Room, Scope, Watch
from innervate_kinds.compute_pool.model import COMPUTE_POOL
from innervate_kinds.environment.model import DEFINITION, Environment
from innervate_kinds.environment.observe import observe, references
from innervate_kinds.environment.plan import plan
from innervate_kinds.environment.probe import probes
from innervate_kinds.environment.status import status

if TYPE_CHECKING:
    from innervate_kinds.environment.state import Observed

ROOM: Room[Environment, Observed] = Room(
    definition=DEFINITION,
    model=Environment,
    children=(SERVICE_ACCOUNT, CONFIG_MAP, NETWORK_POLICY, SERVICE, DEPLOYMENT, POD_DISRUPTION_BUDGET),
    watches=(
        Watch(POD, Scope.OWNED),
        # Tasks: whether they are there, and whether they changed, is all that is asked.
        Watch(CONFIG_MAP, Scope.METADATA),
        Watch(PERSISTENT_VOLUME_CLAIM, Scope.METADATA),
        Watch(COMPUTE_POOL, Scope.ALL),
        Watch(NAMESPACE, Scope.METADATA),
    ),
    references=references,
    probes=probes,
    observe=observe,
    plan=plan,
    status=status,
)
