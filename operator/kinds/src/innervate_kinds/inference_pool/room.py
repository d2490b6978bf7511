"""The InferencePool room as runtime takes it."""

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
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)
from innervate_kinds.api.room import PolicyRule, Room, Scope, Watch
from innervate_kinds.compute_pool.model import COMPUTE_POOL
from innervate_kinds.inference_pool.gateway import ENDPOINT_SLICES
from innervate_kinds.inference_pool.model import DEFINITION, InferencePool
from innervate_kinds.inference_pool.observe import observe, references
from innervate_kinds.inference_pool.plan import plan
from innervate_kinds.inference_pool.probe import probes
from innervate_kinds.inference_pool.status import status
from innervate_kinds.model_release.model import MODEL_RELEASE

if TYPE_CHECKING:
    from innervate_kinds.inference_pool.state import Observed

_GROUP, _RESOURCE, _VERBS = ENDPOINT_SLICES

ROOM: Room[InferencePool, Observed] = Room(
    definition=DEFINITION,
    model=InferencePool,
    children=(
        SERVICE_ACCOUNT,
        ROLE,
        ROLE_BINDING,
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
        Watch(MODEL_RELEASE, Scope.ALL),
        Watch(NAMESPACE, Scope.METADATA),
    ),
    rules=(PolicyRule((_GROUP,), (_RESOURCE,), _VERBS),),
    references=references,
    probes=probes,
    observe=observe,
    plan=plan,
    status=status,
    acts_on=("release", "routes"),
)
