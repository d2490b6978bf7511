"""The updates of a training, from one checkpoint to the next."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from innervate_learner.report import Line
from innervate_service.config import ConfigError
from opentelemetry import trace

from innervate_rl import stopping
from innervate_rl.chain import require_same
from innervate_rl.errors import RunError
from innervate_rl.experience import Cursor as ExperienceCursor
from innervate_rl.experience import ExperienceWriter
from innervate_rl.grpo import recording
from innervate_rl.grpo.ahead import Ahead
from innervate_rl.grpo.collecting import Collector, experience_of
from innervate_rl.grpo.evaluating import evaluate
from innervate_rl.grpo.policy import Learner, Policy
from innervate_rl.grpo.prompts import Cursor, Order
from innervate_rl.grpo.tasks import Voided
from innervate_rl.grpo.warm_start import warm_start
from innervate_rl.result import Result, parameters_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from innervate_learner.checkpoint import Checkpoints
    from innervate_models.artifact import Model

    from innervate_rl.curves import Curves
    from innervate_rl.grpo.collecting import Batch, Group
    from innervate_rl.grpo.hyperparameters import Hyperparameters
    from innervate_rl.grpo.objective import Metrics
    from innervate_rl.grpo.tasks import Tasks
    from innervate_rl.settings import Settings


_tracer = trace.get_tracer("innervate_rl")


class Files(NamedTuple):
    """Where a training keeps what it makes."""

    checkpoints: Checkpoints
    curves: Curves
    tell: Callable[[Line], None]


class Progress(NamedTuple):
    """How far a training is: all that a checkpoint holds beside the arrays."""

    updates: int = 0
    cursor: Cursor = Cursor()
    valid: int = 0
    """Answers that were learned from, or could have been."""
    voided: Voided = Voided()
    dropped: int = 0
    """Answers that came back when the policy had moved on too far."""
    seconds: float = 0.0
    experience: dict[str, int] | None = None
    result: dict[str, Any] | None = None
    """Of the evaluation, once it is done."""
    chain: dict[str, str] | None = None
    """Digests of the environment that all this comes from."""

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return self._asdict() | {"cursor": self.cursor.document(), "voided": list(self.voided)}

    @classmethod
    def of(cls, document: dict[str, Any]) -> Progress:
        """Back from JSON."""
        cursor, voided = Cursor.of(document["cursor"]), Voided(*document["voided"])
        return cls(**document | {"cursor": cursor, "voided": voided})


class Training:
    """One seed's training.

    Parameters
    ----------
    settings, chosen
        What is to be done.
    model
        The base.
    tasks
        The environment.
    files
        Where everything is kept.
    """

    def __init__(
        self, settings: Settings, chosen: Hyperparameters, *, model: Model, tasks: Tasks, files: Files
    ) -> None:
        self._settings, self._chosen = settings, chosen
        self._model, self._tasks, self._files = model, tasks, files
        self._seed = settings.configuration.seed
        self._learner = Learner(model, chosen, seed=self._seed)
        self._roles = {reward.name: reward.role for reward in tasks.describe.rewards}
        self._started = time.monotonic()
        self.policy, self.progress = self._resume()
        self._before, self._voided_before = self.progress.seconds, self.progress.voided
        cursor = ExperienceCursor.of(self.progress.experience)
        self.experience = ExperienceWriter.of(
            settings, cursor=cursor, rewards=tuple(self._roles), fence=files.checkpoints.check
        )
        """Takes rows."""
        self._digests = {self.progress.updates: self.digest()}
        """Of the policies that drew what is learned from next, by their updates."""
        self._saved = self.progress.updates
        self._first = self.steps
        """Where this attempt began."""

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return self.progress.updates * self._chosen.rows

    @property
    def seconds(self) -> float:
        """Time of training so far, over all attempts."""
        return self._before + time.monotonic() - self._started

    @property
    def trained(self) -> Model:
        """The policy as a model."""
        return self._model._replace(parameters=self._learner.parameters(self.policy))

    @property
    def voided(self) -> Voided:
        """Answers without a reward so far, over all attempts since their last checkpoints."""
        return self._voided_before + self._tasks.voided

    @property
    def result(self) -> Result | None:
        """What an earlier attempt's evaluation found."""
        return Result.taken(self.progress.result) if self.progress.result else None

    def digest(self) -> str:
        """Of the policy's parameters."""
        return parameters_digest(jax.device_get(self.trained.parameters))

    def run(self) -> str:
        """Learn until a budget ends; returns which."""
        lag = self._settings.configuration.staleness.max_policy_lag
        updates = self._settings.configuration.budget.steps // self._chosen.rows
        order = Order(self._tasks.describe.training_tasks, seed=self._seed)
        collector = Collector(
            model=self._model,
            chosen=self._chosen,
            tasks=self._tasks,
            order=order,
            cursor=self.progress.cursor,
            seed=self._seed,
            patient=lag == 0,
        )
        self._started = time.monotonic()
        if self.progress.updates == 0:
            self._save()
            if self._chosen.evaluate_every:
                self._tell({})
        parameters, version = self._learner.parameters(self.policy), self.progress.updates
        if lag == 0:
            while self._goes_on(updates):
                self._update(collector.collect(parameters, version=self.progress.updates))
                parameters = self._learner.parameters(self.policy)
        else:
            with Ahead(collector, parameters, version=version, lag=lag) as ahead:
                while self._goes_on(updates):
                    self._update(ahead.take())
                    ahead.publish(self._learner.parameters(self.policy), version=self.progress.updates)
        if self._saved != self.progress.updates:
            self._save()
        return "Steps" if self.progress.updates >= updates else "Seconds"

    def _goes_on(self, updates: int) -> bool:
        if self.progress.updates >= updates:
            return False
        if stopping.told():
            self._save()
            raise RunError(f"told to stop after {self.steps} steps; the next attempt goes on from there")
        limit = self._settings.configuration.budget.seconds
        return limit is None or self.seconds < limit

    def _update(self, batch: Batch) -> None:
        with _tracer.start_as_current_span("update") as span:
            self._learn(batch)
            span.set_attribute("innervate.rl.steps", self.steps)

    def _learn(self, batch: Batch) -> None:
        progress, chosen = self.progress, self._chosen
        lag = self._settings.configuration.staleness.max_policy_lag
        groups = [group for group in batch.groups if progress.updates - group.version <= lag]
        experience = experience_of(groups, chosen, fill=self._model.tokenizer.end)
        metrics: list[Metrics] = []
        if experience.mask.any():
            self.policy, metrics = self._learner.improve(self.policy, experience)
            if not all(math.isfinite(float(one.gradient)) for one in metrics):
                raise ConfigError(f"the training diverged after {self.steps} steps: lower learningRate")
        self._keep(batch.groups, iteration=progress.updates)
        valid = int(sum(np.isfinite(group.rewards).sum() for group in groups))
        self.progress = progress._replace(
            updates=progress.updates + 1,
            cursor=batch.after,
            valid=progress.valid + valid,
            voided=self.voided,
            dropped=progress.dropped + chosen.group * (len(batch.groups) - len(groups)),
            seconds=self.seconds,
        )
        self._tell(recording.point(groups, metrics, version=progress.updates, roles=self._roles))
        every = self._settings.configuration.checkpoint.every_steps
        if self.steps // every > self._saved * chosen.rows // every:
            self._save()

    def _keep(self, groups: Sequence[Group], *, iteration: int) -> None:
        """Hand over experience, that of each policy by itself."""
        if not self.experience.wants_training:
            return
        for version in sorted({group.version for group in groups}):
            own = [group for group in groups if group.version == version]
            turns = recording.turns_of_groups(own, tuple(self._roles))
            self.experience.append_turns(turns, iteration=iteration, policy=self._digests[version])
        oldest = min((group.version for group in groups), default=0)
        self._digests = {known: digest for known, digest in self._digests.items() if known >= oldest}
        self._digests[iteration + 1] = self.digest()

    def _tell(self, point: dict[str, Any]) -> None:
        progress = self.progress
        point |= self._evaluation() | {
            "infrastructure": progress.voided.infrastructure,
            "verifier": progress.voided.verifier,
            "late": progress.voided.late,
            "dropped": progress.dropped,
            "aside": len(progress.cursor.aside),
        }
        # An attempt that another one shut out must not write among that one's points.
        self._files.checkpoints.check()
        self._files.curves.append([{"step": self.steps, "time": round(self.seconds, 3), **point}])
        point |= {"stepsPerSecond": (self.steps - self._first) / max(time.monotonic() - self._started, 1e-9)}
        self._report({name: float(value) for name, value in point.items() if value is not None})

    def finish(self, result: Result) -> None:
        """Keep the result with the experience of its episodes: another attempt must not count them twice."""
        self.progress = self.progress._replace(result=result.kept(), voided=self.voided)
        self._save()

    def _evaluation(self) -> dict[str, float | None]:
        """Rewards at tasks that are not learned from, where it is time to ask for them."""
        every = self._chosen.evaluate_every
        if not every or self.progress.updates % every:
            return {}
        found = evaluate(
            self.trained,
            self._chosen,
            self._tasks,
            episodes=self._settings.configuration.evaluation.episodes,
            version=self.progress.updates,
            seed=self._seed,
        )
        if found.void:
            return {"evaluationVoid": len(found.void)}
        means = recording.over_tasks(recording.of_tasks(found.episodes, self._roles))
        return {"evaluation": means.reward, "evaluationHeldOut": means.held_out}

    def _save(self) -> None:
        cursor = self.experience.flush().document()
        self.progress = self.progress._replace(
            experience=cursor, chain=dict(self._tasks.chain), seconds=self.seconds
        )
        self._files.checkpoints.save(self.steps, self.policy, self.progress.document())
        self._saved = self.progress.updates
        self._report({})

    def _report(self, metrics: dict[str, float]) -> None:
        self._files.tell(
            Line(
                self._settings.attempt,
                step=self.steps,
                metrics={name: round(value, 6) for name, value in metrics.items() if math.isfinite(value)},
                prompts_consumed=self.progress.updates * self._chosen.prompts,
                checkpoint=str(self._saved * self._chosen.rows),
            )
        )

    def _resume(self) -> tuple[Policy, Progress]:
        saved = self._files.checkpoints.read(self._learner.begin(self._model.parameters))
        self._files.curves.resume(saved.step if saved and saved.step else -1)
        if saved:
            progress = Progress.of(saved.notes)
            require_same(progress.chain or {}, self._tasks.chain)
            return saved.state, progress
        with _tracer.start_as_current_span("warm start"):
            parameters = warm_start(self._model, self._chosen, seed=self._seed)
        return self._learner.begin(parameters), Progress()
