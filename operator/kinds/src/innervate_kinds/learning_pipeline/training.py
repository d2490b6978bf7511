"""Training: a Job makes the candidate's release and says at its end what it made."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from innervate_kinds.learning_pipeline import names, trainer
from innervate_kinds.learning_pipeline.candidates import declared
from innervate_kinds.learning_pipeline.ending import finish
from innervate_kinds.learning_pipeline.record import StepName, Verdict
from innervate_kinds.parts import trainers, trouble
from innervate_kinds.parts.pods import Workload

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.learning_pipeline.model import LearningPipeline
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus
    from innervate_kinds.learning_pipeline.scene import Scene
    from innervate_kinds.learning_pipeline.state import Observed
    from innervate_kinds.parts.jobs import JobState

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MEMORY = "train.resources.limits.memory of the candidate"
_PATIENCE = timedelta(seconds=60)
"""How long after a Job's end its pod's last words may take to be seen."""


def advance(scene: Scene) -> LearningPipelineStatus:
    """Wait for the Job; what it made is the candidate's release from here on."""
    job = scene.observed.training
    if job is None or not job.finished:
        return scene.state
    made = reported(job)
    candidate = declared(scene.pipeline, scene.trial)
    train = candidate.train if candidate else None
    if job.succeeded and made and train:
        trial = scene.trial.model_copy(
            update={
                "artifact_digest": made,
                "release": trainer.release_name(scene.pipeline, scene.trial, train, made),
            }
        )
        return scene.step(StepName.RELEASING, candidate=trial)
    silent = job.words(trainers.SIDECAR) is None
    if job.succeeded and silent and (job.ended is None or scene.now - job.ended < _PATIENCE):
        return scene.state
    return finish(scene, Verdict.FAILED, "TrainingFailed", why(job))


def reported(job: JobState) -> str:
    """Release digest that the trainer's final line names, or empty."""
    words = job.words(trainers.SIDECAR) or {}
    digest = words.get("release") if words.get("final") else None
    return digest if isinstance(digest, str) and _DIGEST.fullmatch(digest) else ""


def problem(pipeline: LearningPipeline, observed: Observed, now: datetime) -> str:
    """What keeps the Job's pod from training; empty where nothing is known to."""
    job = observed.training
    if job is None or job.finished or job.last is None or pipeline.status is None:
        return ""
    component = trouble.Component(
        owner=pipeline.metadata,
        name=names.component(pipeline.status.rollout),
        memory_field=lambda _container: _MEMORY,
    )
    workload = Workload(current=True, wanted=1, updated=1, available=0, pods=(job.last,))
    found = trouble.problem(component, workload, now)
    return found.message if found and found.reason != "NotReady" else ""


def why(job: JobState) -> str:
    """Why there is no release, in the words of whoever knows best."""
    ended = job.container(trainers.TRAINER)
    if ended and ended.ended == "OOMKilled":
        return f"the trainer used more memory than its limit and was killed; raise {_MEMORY}"
    words = job.words(trainers.SIDECAR)
    if words and isinstance(words.get("error"), str):
        return str(words["error"])
    if job.failed == "DeadlineExceeded":
        return "training took longer than train.deadlineSeconds"
    if job.failed:
        lines = ended.ended_message.strip().splitlines() if ended else []
        last = f": {lines[-1]}" if lines else ""
        return f"the trainer failed {job.attempts_failed} times{last}"
    return "the trainer ended without a final report that names a release"
