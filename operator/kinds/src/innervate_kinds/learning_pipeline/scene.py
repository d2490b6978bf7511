"""What a decision is made from: the pipeline, what is observed, the time, and the status so far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from innervate_kinds.learning_pipeline import names, traffic
from innervate_kinds.learning_pipeline.record import Step, StepName

if TYPE_CHECKING:
    from datetime import datetime

    from innervate_kinds.learning_pipeline.model import LearningPipeline
    from innervate_kinds.learning_pipeline.record import LearningPipelineStatus, Trial
    from innervate_kinds.learning_pipeline.state import Observed, PoolState
    from innervate_kinds.learning_pipeline.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Scene:
    """One visit's decision.

    Parameters
    ----------
    pipeline, observed
        The pipeline, and all that a decision may depend on; its pool is there.
    now
        The time, to the second.
    state
        The status so far.
    """

    pipeline: LearningPipeline
    observed: Observed
    now: datetime
    state: LearningPipelineStatus

    @property
    def pool(self) -> PoolState:
        """The pool."""
        if self.observed.pool is None:
            raise ValueError("nothing is decided without the pool")
        return self.observed.pool

    @property
    def trial(self) -> Trial:
        """The candidate under way."""
        if self.state.candidate is None:
            raise ValueError("no candidate is under way")
        return self.state.candidate

    @property
    def current(self) -> Step:
        """The step that the candidate is at."""
        if self.state.step is None:
            raise ValueError("no candidate is under way")
        return self.state.step

    @property
    def release(self) -> str:
        """The candidate's ModelRelease; empty until it is trained."""
        return self.trial.release or ""

    @property
    def arms(self) -> tuple[str, str]:
        """Arms of the rollout: of the stable release, and of the candidate."""
        return names.arms(self.pipeline.metadata, self.state.rollout)

    @property
    def age(self) -> float:
        """Seconds since the step was decided."""
        return (self.now - self.current.start_time).total_seconds()

    def later(self, seconds: float) -> datetime:
        """A time from now."""
        return self.now + timedelta(seconds=seconds)

    def split(self, percent: int) -> Traffic:
        """Traffic with that share for the candidate."""
        return traffic.split(
            self.pipeline.metadata,
            self.state.rollout,
            stable=self.state.stable or "",
            candidate=self.release,
            percent=percent,
        )

    def at(self, state: LearningPipelineStatus) -> Scene:
        """The same scene with another status."""
        return replace(self, state=state)

    def with_(self, **changes: Any) -> LearningPipelineStatus:
        """The status with some fields changed."""
        return self.state.model_copy(update=changes)

    def step(self, name: StepName, /, **changes: Any) -> LearningPipelineStatus:
        """The status at another step that begins now."""
        return self.with_(**({"step": Step(name=name, start_time=self.now)} | changes))
