"""The EvalJob room as runtime takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import (
    CONFIG_MAP,
    JOB,
    NAMESPACE,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SERVICE_ACCOUNT,
)
from innervate_kinds.api.room import Room, Scope, Watch
from innervate_kinds.compute_pool.model import COMPUTE_POOL
from innervate_kinds.eval_job.model import DEFINITION, EvalJob
from innervate_kinds.eval_job.observe import observe, references
from innervate_kinds.eval_job.plan import plan
from innervate_kinds.eval_job.probe import probes
from innervate_kinds.eval_job.status import status
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.model_release.model import MODEL_RELEASE

if TYPE_CHECKING:
    from innervate_kinds.eval_job.state import Observed

ROOM: Room[EvalJob, Observed] = Room(
    definition=DEFINITION,
    model=EvalJob,
    children=(SERVICE_ACCOUNT, CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, NETWORK_POLICY, JOB),
    watches=(
        Watch(POD, Scope.OWNED),
        Watch(INFERENCE_POOL, Scope.ALL),
        Watch(MODEL_RELEASE, Scope.ALL),
        # Datasets: whether they are there is all that is asked.
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
    acts_on=("endTime",),
)
