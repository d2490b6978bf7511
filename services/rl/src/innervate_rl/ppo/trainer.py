"""PPO from a run's settings to its result."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from innervate_learner.checkpoint import Checkpoints, identity
from innervate_learner.report import Line
from innervate_service.config import ConfigError
from opentelemetry import trace
from pydantic.alias_generators import to_camel

from innervate_rl import stopping
from innervate_rl.compiling import use_cache
from innervate_rl.curves import Curves
from innervate_rl.errors import RunError
from innervate_rl.experience.parts import PartError
from innervate_rl.experience.rows import Cursor, Steps
from innervate_rl.experience.writer import ExperienceWriter
from innervate_rl.ppo import hyperparameters, learning, policy
from innervate_rl.ppo.source import STREAM_TRAINING, Void
from innervate_rl.result import Outcome, Result, Rollouts, parameters_digest
from innervate_rl.statistics import interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_rl.ppo.hyperparameters import Hyperparameters
    from innervate_rl.ppo.source import Rollout, Source
    from innervate_rl.settings import Settings

_TELL_SECONDS = 1.0
"""Time between lines of the report; every checkpoint is told of as well."""
_LEARNING_STREAM = STREAM_TRAINING + 10
_CURVES = [to_camel(name) for name in learning.Measures._fields]
_VOID_IN_A_ROW = 5
"""Rollouts without a single valid step, after which the run gives up."""

_tracer = trace.get_tracer("innervate_rl")


def train(settings: Settings, tell: Callable[[Line], None]) -> Outcome:
    """Train one seed; see `innervate_rl.__main__.Train`."""
    configuration = settings.configuration
    jax_environment = configuration.environment.jax
    chosen = hyperparameters.read(
        configuration.algorithm.hyperparameters,
        jax_environment.id if jax_environment else configuration.environment.name,
    )
    if configuration.budget.steps < chosen.steps:
        raise ConfigError(
            f"budget.steps = {configuration.budget.steps} is less than the {chosen.steps} steps "
            "of one update; raise it, or lower environments or rolloutSteps"
        )
    policy.check_store(settings)
    use_cache(settings.compile_cache)
    with closing(_source(settings, chosen)) as source:
        return _Seed(settings, chosen, source, tell).finish()


def _source(settings: Settings, chosen: Hyperparameters) -> Source:
    configuration = settings.configuration
    where = configuration.environment
    if where.jax is not None:
        from innervate_rl.environments.catalogue import find  # noqa: PLC0415  one of two ways
        from innervate_rl.ppo.native import Native  # noqa: PLC0415

        return Native(
            find(where.jax.id),
            count=chosen.environments,
            steps=chosen.rollout_steps,
            seed=configuration.seed,
            chain=where.chain,
        )
    from innervate_rl.ppo.remote import Remote  # noqa: PLC0415  gRPC is needed here alone

    return Remote(settings, count=chosen.environments, steps=chosen.rollout_steps)


class _Seed:
    """One seed on its way."""

    def __init__(
        self, settings: Settings, chosen: Hyperparameters, source: Source, tell: Callable[[Line], None]
    ) -> None:
        self._settings = settings
        self._chosen = chosen
        self._source = source
        self._tell = tell
        configuration = settings.configuration
        self._updates = configuration.budget.steps // chosen.steps
        self._every = max(1, configuration.checkpoint.every_steps // chosen.steps)
        self._done = 0
        self._episodes = 0
        self._void = Void()
        self._elapsed = 0.0
        """Seconds of training before this attempt."""
        self._evaluated: Result | None = None
        self._name: str | None = None
        self._points: list[dict[str, Any]] = []
        self._metrics: dict[str, float] = {}
        self._told = (time.monotonic(), time.time_ns(), 0)
        """When the last line of the report was written, on both clocks, and at which update."""
        self._checkpoints = Checkpoints(
            settings.directory / "checkpoint" / identity(**configuration.decisive), settings.attempt
        )
        self._curves = Curves(settings.directory)
        self._learner = learning.begin(jax.tree.map(jax.numpy.asarray, policy.begin(settings, source)))

    def finish(self) -> Outcome:
        """Train to the end of the budget, evaluate, and write what came of it."""
        self._checkpoints.begin()
        cursor = self._resume()
        self._told = (time.monotonic(), time.time_ns(), self._done)
        self._report()
        fence = self._checkpoints.check
        try:
            with ExperienceWriter.of(self._settings, cursor=cursor, fence=fence) as self._experience:
                return self._conclude(self._evaluated.ended if self._evaluated else self._train())
        except PartError as error:
            raise RunError(str(error)) from error

    def _resume(self) -> Cursor:
        saved = self._checkpoints.read(self._state())
        if saved is None:
            self._curves.resume(0)
            return Cursor()
        self._done = saved.step
        self._learner = saved.state["learner"]
        notes = saved.notes
        self._elapsed, self._episodes = notes["elapsed"], notes["episodes"]
        self._void = Void(*notes["void"])
        self._evaluated = Result.taken(notes["result"]) if notes["result"] else None
        if not self._evaluated:
            self._source.restore(saved.state["source"], notes["source"])
        self._name = f"{self._steps}"
        self._curves.resume(self._steps)
        return Cursor.of(notes["cursor"])

    @property
    def _steps(self) -> int:
        return self._done * self._chosen.steps

    def _state(self) -> dict[str, Any]:
        return {"learner": self._learner, "source": self._source.state()}

    def _train(self) -> str:
        """Train; gives the budget that ended it."""
        begun = time.monotonic() - self._elapsed
        seconds = self._settings.configuration.budget.seconds
        void_in_a_row = 0
        while self._done < self._updates:
            if seconds is not None and self._elapsed >= seconds:
                self._checkpoint()
                return "Seconds"
            if stopping.told():
                self._checkpoint()
                raise RunError(f"told to stop after {self._steps} steps; the next attempt goes on from there")
            rollout = self._source.rollout(self._learner.parameters, self._done)
            self._void = self._void.plus(rollout.void)
            valid = not rollout.failures or bool(np.any(rollout.batch.valid))
            void_in_a_row = 0 if valid else void_in_a_row + 1
            if void_in_a_row >= _VOID_IN_A_ROW:
                why = next(iter(rollout.failures.values()))
                raise RunError(f"no valid step in {_VOID_IN_A_ROW} rollouts; the environment says: {why}")
            if valid:
                self._update(rollout, begun)
        self._checkpoint()
        return "Steps"

    def _update(self, rollout: Rollout, begun: float) -> None:
        behaviour = self._learner.parameters
        self._learner, measures = _learn(
            self._learner,
            rollout.batch,
            self._settings.configuration.seed,
            self._chosen,
            self._updates,
        )
        if self._experience.wants_training:
            self._keep(rollout, parameters_digest(behaviour))
        self._done += 1
        measured = np.asarray(measures).tolist()
        self._elapsed = time.monotonic() - begun
        self._note(rollout, dict(zip(_CURVES, measured, strict=True)))
        if self._done % self._every == 0 and self._done < self._updates:
            self._checkpoint()
        elif time.monotonic() - self._told[0] >= _TELL_SECONDS:
            self._report()

    def _note(self, rollout: Rollout, said: dict[str, float]) -> None:
        episodes = int(rollout.episodes)
        self._episodes += episodes
        if episodes:
            said["reward"] = float(rollout.returns) / episodes
            said["length"] = float(rollout.lengths) / episodes
        self._metrics |= said
        point = {"step": self._steps, "time": round(self._elapsed, 3), "policyLag": 0, "episodes": episodes}
        self._points.append(point | said)

    def _checkpoint(self) -> None:
        """Commit everything so far, in the order in which a resumed run takes it back."""
        # Its points would be told twice: the attempt that shut this one out has them again.
        self._checkpoints.check()
        self._curves.append(self._points)
        self._points = []
        cursor = self._experience.flush()
        notes = {
            "elapsed": self._elapsed,
            "episodes": self._episodes,
            "void": list(self._void),
            "cursor": cursor.document(),
            "source": self._source.notes(),
            "result": self._evaluated.kept() if self._evaluated else None,
        }
        self._checkpoints.save(self._done, self._state(), notes)
        self._name = f"{self._steps}"
        self._report()

    def _report(self) -> None:
        now, clock = time.monotonic(), time.time_ns()
        since, started, done = self._told
        if self._done > done:
            steps = (self._done - done) * self._chosen.steps
            self._metrics["stepsPerSecond"] = steps / max(now - since, 1e-9)
            attributes = {
                "innervate.rl.steps": steps,
                "innervate.rl.reward": self._metrics.get("reward", 0.0),
            }
            _tracer.start_span("iterations", start_time=started, attributes=attributes).end(clock)
        self._told = (now, clock, self._done)
        self._metrics |= {
            "episodes": self._episodes,
            "policyLag": 0,
            "infrastructure": self._void.infrastructure,
            "verifier": self._void.verifier,
        }
        finite = {name: round(value, 6) for name, value in self._metrics.items() if np.isfinite(value)}
        self._tell(Line(self._settings.attempt, step=self._steps, metrics=finite, checkpoint=self._name))

    def _keep(self, rollout: Rollout, digest: str) -> None:
        batch = jax.tree.map(np.asarray, rollout.batch)
        valid = np.ones(batch.terminated.shape, bool)
        for place in rollout.failures:
            valid[place] = False
        steps = Steps(
            observation=batch.observations,
            action=batch.actions,
            reward=batch.rewards,
            terminated=batch.terminated,
            truncated=batch.truncated,
            logprob=batch.logprobs,
            final_observation=batch.finals,
            valid=valid,
            error=rollout.failures,
        )
        self._experience.append_rollout(steps, iteration=self._done, policy=digest)

    def _conclude(self, ended: str) -> Outcome:
        result = self._evaluated or self._evaluate(ended)
        self._checkpoints.check()
        release = None
        if self._settings.configuration.publish is not None:
            with _tracer.start_as_current_span("publish"):
                parameters = self._learner.parameters
                release = policy.publish(parameters, self._settings, self._chosen, self._source.chain)
            self._checkpoints.check()
        result.write(self._settings.directory)
        return Outcome(result, release)

    def _evaluate(self, ended: str) -> Result:
        digest = parameters_digest(self._learner.parameters)
        count = self._settings.configuration.evaluation.episodes
        with _tracer.start_as_current_span("evaluate", attributes={"innervate.rl.episodes": count}):
            evaluated = self._source.evaluate(self._learner.parameters, count)
        self._experience.append_episodes(
            evaluated.steps, evaluated.lengths, iteration=self._done, policy=digest
        )
        self._void = self._void.plus(evaluated.void)
        mean = interval(evaluated.returns.tolist())
        result = Result(
            steps=self._steps,
            episodes=count,
            reward=mean.value,
            low=mean.low,
            high=mean.high,
            rollouts=Rollouts(self._episodes + count, *self._void),
            chain=self._source.chain,
            parameters=digest,
            ended=ended,
        )
        # Kept with the experience of its episodes: another attempt must not count them twice.
        self._evaluated = result
        self._checkpoint()
        return result


# Compiled once for all seeds that a process trains.
@partial(jax.jit, static_argnames=("chosen", "updates"))
def _learn(
    learner: learning.Learner, batch: learning.Batch, seed: int, chosen: Hyperparameters, updates: int
) -> tuple[learning.Learner, jax.Array]:
    stream = jax.random.fold_in(jax.random.PRNGKey(seed), _LEARNING_STREAM)
    key = jax.random.fold_in(stream, learner.updates)
    after, measures = learning.learn(learner, batch, key, chosen, updates)
    # One array of all figures: bringing each to the host would cost more than making them.
    return after, jax.numpy.stack(measures)
