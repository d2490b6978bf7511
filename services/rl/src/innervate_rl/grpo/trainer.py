"""One seed of a GRPO run: from the base release to the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_environments.client import Credentials, VectorEnvironment
from innervate_environments.spaces import Text
from innervate_learner.checkpoint import Checkpoints, identity
from innervate_service.config import ConfigError
from opentelemetry import trace

from innervate_rl.compiling import use_cache
from innervate_rl.curves import Curves
from innervate_rl.errors import RunError
from innervate_rl.experience import Split
from innervate_rl.experience.parts import PartError
from innervate_rl.grpo import recording, releases
from innervate_rl.grpo.evaluating import check_prompts, evaluate
from innervate_rl.grpo.hyperparameters import Hyperparameters
from innervate_rl.grpo.tasks import Tasks
from innervate_rl.grpo.training import Files, Training
from innervate_rl.result import Outcome, Result, Rollouts
from innervate_rl.settings import hyperparameters
from innervate_rl.statistics import interval

_tracer = trace.get_tracer("innervate_rl")

if TYPE_CHECKING:
    from collections.abc import Callable

    from innervate_learner.report import Line
    from innervate_models.artifact import Model

    from innervate_rl.grpo.evaluating import Episode
    from innervate_rl.grpo.tasks import Environment
    from innervate_rl.settings import Settings


def train(
    settings: Settings,
    tell: Callable[[Line], None],
    *,
    connect: Callable[[int], Environment] | None = None,
) -> Outcome:
    """Train one seed, evaluate it, write its files.

    Parameters
    ----------
    settings
        What to do.
    tell
        Takes each line of the report but the last.
    connect
        Opens the environment with so many slots; by default it is the service that the settings name.

    Raises
    ------
    ConfigError
        The settings cannot be used.
    RunError
        There was no environment, or an answer of the evaluation could not be judged, or none of the training.
    innervate_releases.errors.ReleaseError
        The base release is wrong, or a store does not answer.
    FencedError
        A later attempt has begun.
    """
    chosen = hyperparameters(Hyperparameters, settings.configuration.algorithm.hyperparameters)
    _check(settings, chosen)
    use_cache(settings.compile_cache)
    checkpoints = Checkpoints(
        settings.directory / "checkpoint" / identity(**settings.configuration.decisive), settings.attempt
    )
    checkpoints.begin()
    base = releases.fetch_base(settings)
    limit = base.model.config.context
    if chosen.prompt_tokens + chosen.answer_tokens > limit:
        raise ConfigError(
            f"promptTokens {chosen.prompt_tokens} and answerTokens {chosen.answer_tokens} do not fit the "
            f"model's context of {limit}"
        )
    tasks = Tasks(
        connect or _connect(settings, chosen),
        slots=min(chosen.slots, chosen.rows),
        outage_seconds=chosen.outage_seconds,
        chain=settings.configuration.environment.chain,
    )
    try:
        _check_tasks(tasks)
        files = Files(checkpoints, Curves(settings.directory), tell)
        training = Training(settings, chosen, model=base.model, tasks=tasks, files=files)
        with training.experience:
            result = training.result or _learn(settings, chosen, training, tasks)
    except PartError as error:
        raise RunError(str(error)) from error
    finally:
        tasks.close()
    checkpoints.check()
    release = _publish(settings, chosen, base, training.trained)
    checkpoints.check()
    result.write(settings.directory)
    return Outcome(result, release)


def _learn(settings: Settings, chosen: Hyperparameters, training: Training, tasks: Tasks) -> Result:
    count = settings.configuration.evaluation.episodes
    check_prompts(training.trained, chosen, tasks, episodes=count)
    ended = training.run()
    with _tracer.start_as_current_span("evaluate", attributes={"innervate.rl.episodes": count}):
        episodes = evaluate(
            training.trained,
            chosen,
            tasks,
            episodes=count,
            version=training.progress.updates,
            seed=settings.configuration.seed,
        ).complete()
    result = _result(training, tasks, episodes, ended)
    training.experience.append_turns(
        recording.turns_of_episodes(episodes, tuple(reward.name for reward in tasks.describe.rewards)),
        iteration=training.progress.updates,
        policy=result.parameters,
        split=Split.EVALUATION,
    )
    training.finish(result)
    return result


def _check(settings: Settings, chosen: Hyperparameters) -> None:
    configuration = settings.configuration
    if configuration.environment.endpoint is None:
        raise ConfigError("environment.endpoint must be given: GRPO learns from tasks of text")
    if configuration.budget.steps < chosen.rows:
        raise ConfigError(
            f"budget.steps {configuration.budget.steps} is less than one update of {chosen.prompts} prompts "
            f"and {chosen.group} answers to each"
        )


def _check_tasks(tasks: Tasks) -> None:
    about = tasks.describe
    if not isinstance(about.observation_space, Text) or not isinstance(about.action_space, Text):
        raise ConfigError(f"{about.id} is no environment of text: GRPO trains a language model")
    for split, count in (("training", about.training_tasks), ("evaluation", about.evaluation_tasks)):
        if not count:
            raise ConfigError(f"the environment has no {split} tasks: give some of them the split {split}")


def _connect(settings: Settings, chosen: Hyperparameters) -> Callable[[int], Environment]:
    endpoint = settings.configuration.environment.endpoint or ""
    credentials = Credentials(settings.trust / "ca.crt", settings.token)

    def connect(slots: int) -> VectorEnvironment:
        return VectorEnvironment.open(
            endpoint,
            slots=slots,
            autoreset=False,
            credentials=credentials,
            timeout=chosen.rollout_seconds,
        )

    return connect


def _result(training: Training, tasks: Tasks, episodes: list[Episode], ended: str) -> Result:
    if not training.progress.valid:
        raise RunError("not one answer of the training could be judged")
    roles = {reward.name: reward.role for reward in tasks.describe.rewards}
    each = recording.of_tasks(episodes, roles)
    mean = interval([one.reward for one in each if one.reward is not None])
    means = recording.over_tasks(each)
    voided = training.voided
    return Result(
        steps=training.steps,
        episodes=len(episodes),
        reward=mean.value,
        low=mean.low,
        high=mean.high,
        rollouts=Rollouts(
            valid=training.progress.valid + len(episodes),
            infrastructure=voided.infrastructure,
            verifier=voided.verifier,
        ),
        chain=dict(tasks.chain),
        parameters=training.digest(),
        ended=ended,
        held_out=means.held_out,
        canary=means.canary,
        gap=means.gap,
    )


def _publish(settings: Settings, chosen: Hyperparameters, base: releases.Base, model: Model) -> str | None:
    if settings.configuration.publish is None:
        return None
    with _tracer.start_as_current_span("publish"):
        return releases.publish(settings, base, model, chosen.texts())
