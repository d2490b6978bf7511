"""One run: every question to every arm once, however often the runner is cut off in between."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from innervate_service.logs import get_logger
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import Counter as Metric
from prometheus_client import Gauge

from innervate_evaluator.asking import Unanswered
from innervate_evaluator.failures import RunFailed
from innervate_evaluator.journal import Answered, Key
from innervate_evaluator.results import TARGET, arms, results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from opentelemetry.trace import Span

    from innervate_evaluator.asking import Gateway
    from innervate_evaluator.config import RunnerConfig
    from innervate_evaluator.dataset import Dataset, Question
    from innervate_evaluator.journal import Journal
    from innervate_evaluator.judging import Judge, Judged
    from innervate_evaluator.progress import Progress
    from innervate_evaluator.results import Results

_PROGRESS_SECONDS: Final = 10.0

ASKED = Metric("innervate_eval_questions", "Questions asked, by what came of them.", ["arm", "outcome"])
LEFT = Gauge(
    "innervate_eval_questions_left", "Questions that no arm has been asked yet, arms counted singly."
)

_log = get_logger(__name__)
_tracer = trace.get_tracer("innervate_evaluator")


def order(questions: Sequence[Question], asked: Sequence[str], *, seed: int) -> list[tuple[Question, str]]:
    """Order of asking: determined by the seed, the arms of a question one after the other.

    Arms take turns in going first by chance, so that what changes with time (load, caches) falls on
    both alike.
    """
    chance = random.Random(seed)  # noqa: S311  an order, not a secret
    shuffled = list(questions)
    chance.shuffle(shuffled)
    ordered = []
    for question in shuffled:
        turns = list(asked)
        chance.shuffle(turns)
        ordered += [(question, arm) for arm in turns]
    return ordered


class Run:
    """Asks, scores and records until nothing is left.

    Parameters
    ----------
    config
        The whole configuration.
    dataset
        The questions.
    journal
        Open; what it holds is not asked again.
    gateway, judge
        Open.
    progress
        Is kept up to date on the way.
    """

    def __init__(
        self,
        config: RunnerConfig,
        dataset: Dataset,
        journal: Journal,
        gateway: Gateway,
        judge: Judge,
        *,
        progress: Progress,
    ) -> None:
        self._config = config
        self._dataset = dataset
        self._journal = journal
        self._gateway = gateway
        self._judge = judge
        self._progress = progress
        ordered = order(dataset.questions, arms(config), seed=config.run.seed)
        self._left = [
            (question, arm) for question, arm in ordered if Key(question.id, arm) not in journal.answered
        ]
        self._bad: dict[str, str] = {}
        """Why questions are in error, by id."""
        self._troubled = False
        """Whether the infrastructure had a part in it: another attempt may do better."""
        for key, answered in journal.answered.items():
            self._note(key, answered)
        progress.total = len(ordered)
        progress.asked = len(ordered) - len(self._left)

    async def finish(self) -> Results:
        """Ask what is left, and sum up.

        Raises
        ------
        RunFailed
            There can be no result.
        """
        _log.info("run begins", questions=len(self._dataset.questions), left=len(self._left))
        LEFT.set(len(self._left))
        self._check()
        queue = iter(self._left)
        progress = asyncio.create_task(self._tell())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._config.run.parallelism):
                    group.create_task(self._work(queue))
        except BaseExceptionGroup as failures:
            failed, _rest = failures.split(RunFailed)
            if failed is not None:
                raise _first(failed) from failures
            raise
        finally:
            progress.cancel()
        found = results(self._config, self._dataset.questions, self._journal.answered)
        self._check()
        return found

    async def _work(self, queue: Iterator[tuple[Question, str]]) -> None:
        for question, arm in queue:
            await self._settle(question, arm)
            LEFT.dec()
            self._progress.asked += 1
            self._check()

    async def _settle(self, question: Question, arm: str) -> None:
        target = self._config.target
        baseline = self._config.baseline
        release = target.release if arm == TARGET else baseline.release if baseline else None
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "innervate",
            "gen_ai.request.model": target.model,
            "innervate.eval.job": self._config.job.name,
            "innervate.eval.sample": question.id,
            "innervate.eval.arm": arm,
        }
        with _tracer.start_as_current_span(
            f"chat {target.model}", kind=SpanKind.CLIENT, attributes=attributes
        ) as span:
            try:
                answer = await self._gateway.ask(question.input, release=release)
            except Unanswered as error:
                span.set_status(Status(StatusCode.ERROR, error.message))
                answered = Answered(error=error.message, infrastructure=error.infrastructure)
            else:
                judged = await self._judge.score(question, answer.output)
                answered = Answered(
                    release=answer.release,
                    request_id=answer.request_id,
                    output=answer.output,
                    scores={name: each.value for name, each in judged.items() if each.value is not None},
                    evidence={name: each.evidence for name, each in judged.items() if each.value is not None},
                    unscored={name: each.evidence for name, each in judged.items() if each.value is None},
                    seconds=round(answer.seconds, 6),
                    input_tokens=answer.input_tokens,
                    output_tokens=answer.output_tokens,
                )
                _describe(span, answered, judged)
            key = Key(question.id, arm)
            await self._journal.append(key, answered)
            self._note(key, answered)
        ASKED.labels(arm, "error" if answered.error else "answered").inc()

    def _note(self, key: Key, answered: Answered) -> None:
        problem = answered.error or next(iter(answered.unscored.values()), "")
        if problem:
            self._bad[key.id] = problem
            self._troubled |= answered.infrastructure
            self._progress.errors = len(self._bad)

    def _check(self) -> None:
        """Stop once more questions are in error than may be: no verdict could follow."""
        samples = len(self._dataset.questions)
        if len(self._bad) <= self._config.run.max_error_share * samples:
            return
        message, times = Counter(self._bad.values()).most_common(1)[0]
        raise RunFailed(
            "TooManyErrors",
            f"{len(self._bad)} of {samples} questions are in error, more than spec.run.maxErrorShare "
            f"{self._config.run.max_error_share} allows; {times} times: {message}",
            permanent=not self._troubled,
        )

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_SECONDS)
            done = len(self._journal.answered)
            total = len(self._dataset.questions) * len(arms(self._config))
            _log.info("progress", answered=done, of=total, errors=len(self._bad))


def _describe(span: Span, answered: Answered, judged: Mapping[str, Judged]) -> None:
    """Put the answer and its evaluation into the span, by OpenTelemetry's GenAI conventions."""
    span.set_attributes(
        {
            "gen_ai.response.id": answered.request_id,
            "gen_ai.usage.input_tokens": answered.input_tokens,
            "gen_ai.usage.output_tokens": answered.output_tokens,
            "innervate.release": answered.release,
        }
    )
    for name, each in judged.items():
        attributes: dict[str, str | float] = {
            "gen_ai.evaluation.name": name,
            "gen_ai.evaluation.explanation": each.evidence,
            "gen_ai.response.id": answered.request_id,
        }
        if each.value is None:
            attributes["error.type"] = "unscored"
        else:
            attributes["gen_ai.evaluation.score.value"] = each.value
            span.set_attribute(f"gen_ai.evaluation.score.value.{name}", each.value)
        span.add_event("gen_ai.evaluation.result", attributes, timestamp=time.time_ns())


def _first(group: BaseExceptionGroup[RunFailed]) -> RunFailed:
    """The first failure of a group, however deep: a permanent one before any other."""
    found: list[RunFailed] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += error.exceptions
        elif isinstance(error, RunFailed):
            found.append(error)
    return min(found, key=lambda failed: failed.exit)
