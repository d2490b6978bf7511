"""Candidates of a specification, and whose turn it is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innervate_kinds.api.resource import Model
    from innervate_kinds.learning_pipeline.model import Candidate, LearningPipeline
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus, Trial


def digest(content: Model) -> str:
    """Short digest of a part of the specification.

    Without what has its default: a later version with more fields must not see another candidate.
    """
    value = content.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def key(name: str, content: str) -> str:
    """What stands in `status.completed` for a candidate that had its turn."""
    return f"{name}@{content}"


def following(pipeline: LearningPipeline, state: LearningPipelineStatus) -> Candidate | None:
    """The first candidate that had no turn yet."""
    return next(
        (
            candidate
            for candidate in pipeline.spec.candidates
            if key(candidate.name, digest(candidate)) not in state.completed
        ),
        None,
    )


def declared(pipeline: LearningPipeline, trial: Trial) -> Candidate | None:
    """What the specification says of the candidate under way; None where it says so no more."""
    return next(
        (
            candidate
            for candidate in pipeline.spec.candidates
            if candidate.name == trial.name and digest(candidate) == trial.digest
        ),
        None,
    )


def completed(pipeline: LearningPipeline, state: LearningPipelineStatus, done: str) -> tuple[str, ...]:
    """Candidates that had their turn, with one more, without those that the specification forgot."""
    known = {key(candidate.name, digest(candidate)) for candidate in pipeline.spec.candidates}
    return tuple(each for each in (*state.completed, done) if each in known)
