"""Every room there is. A new kind is one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.compute_pool.room import ROOM as COMPUTE_POOL
from innervate_kinds.environment.room import ROOM as ENVIRONMENT
from innervate_kinds.eval_job.room import ROOM as EVAL_JOB
from innervate_kinds.inference_pool.room import ROOM as INFERENCE_POOL
from innervate_kinds.learning_pipeline.room import ROOM as LEARNING_PIPELINE
from innervate_kinds.memory_store.room import ROOM as MEMORY_STORE
from innervate_kinds.model_release.room import ROOM as MODEL_RELEASE
from innervate_kinds.rl_run.room import ROOM as RL_RUN

if TYPE_CHECKING:
    from innervate_kinds.api.room import Room

ROOMS: tuple[Room[Any, Any], ...] = (
    COMPUTE_POOL,
    MEMORY_STORE,
    MODEL_RELEASE,
    INFERENCE_POOL,
    EVAL_JOB,
    LEARNING_PIPELINE,
    ENVIRONMENT,
    RL_RUN,
)
