"""The RLRun room as runtime takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import (
    CONFIG_MAP,
    JOB,
    NAMESPACE,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
)
from innervate_kinds.api.room import PolicyRule, Room, Scope, Watch
from innervate_kinds.compute_pool.model import COMPUTE_POOL
from innervate_kinds.environment.model import ENVIRONMENT
from innervate_kinds.model_release.model import MODEL_RELEASE
from innervate_kinds.rl_run.model import DEFINITION, RLRun
from innervate_kinds.rl_run.names import JOB_SET
from innervate_kinds.rl_run.observe import observe, probes, references
from innervate_kinds.rl_run.plan import plan
from innervate_kinds.rl_run.record import ACTS_ON
from innervate_kinds.rl_run.status import status

if TYPE_CHECKING:
    from innervate_kinds.rl_run.state import Observed

ROOM: Room[RLRun, Observed] = Room(
    definition=DEFINITION,
    model=RLRun,
    children=(
        *(SERVICE_ACCOUNT, CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, NETWORK_POLICY, SERVICE, JOB),
        MODEL_RELEASE,
    ),
    watches=(
        Watch(POD, Scope.OWNED),
        Watch(ENVIRONMENT, Scope.ALL),
        Watch(COMPUTE_POOL, Scope.ALL),
        Watch(NAMESPACE, Scope.METADATA),
        Watch(JOB_SET, Scope.OWNED, optional=True),
    ),
    # No child, as a cluster may lack it: made, held and deleted all the same.
    rules=(PolicyRule((JOB_SET.group,), (JOB_SET.plural,), ("create", "patch", "delete")),),
    references=references,
    probes=probes,
    observe=observe,
    plan=plan,
    status=status,
    acts_on=ACTS_ON,
)
