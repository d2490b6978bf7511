"""The LearningPipeline room as runtime takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import CONFIG_MAP, JOB, NAMESPACE, NETWORK_POLICY, POD
from innervate_kinds.api.room import Room, Scope, Watch
from innervate_kinds.compute_pool.model import COMPUTE_POOL
from innervate_kinds.eval_job.model import EVAL_JOB
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline.model import DEFINITION, LearningPipeline
from innervate_kinds.learning_pipeline.observe import observe, references
from innervate_kinds.learning_pipeline.plan import plan
from innervate_kinds.learning_pipeline.probe import probes
from innervate_kinds.learning_pipeline.record import ACTS_ON
from innervate_kinds.learning_pipeline.status import status
from innervate_kinds.model_release.model import MODEL_RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.learning_pipeline.state import Observed


def chapter(status: Mapping[str, Any]) -> str:
    """Name the step under way: each has a trace of its own, which shows what the operator did for it."""
    step = status.get("step")
    return f"{step['name']} since {step['startTime']}" if step else ""


ROOM: Room[LearningPipeline, Observed] = Room(
    definition=DEFINITION,
    model=LearningPipeline,
    children=(CONFIG_MAP, NETWORK_POLICY, JOB, MODEL_RELEASE, EVAL_JOB),
    watches=(
        Watch(POD, Scope.OWNED),
        Watch(INFERENCE_POOL, Scope.ALL),
        Watch(COMPUTE_POOL, Scope.ALL),
        Watch(NAMESPACE, Scope.METADATA),
    ),
    references=references,
    probes=probes,
    observe=observe,
    plan=plan,
    status=status,
    acts_on=ACTS_ON,
    chapter=chapter,
)
