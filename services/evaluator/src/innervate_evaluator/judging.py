"""Scores of answers, by the scoring service in the next container."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import grpc
from innervate_api.scoring.v1 import scoring_pb2, scoring_pb2_grpc

from innervate_evaluator.config import ScorerType
from innervate_evaluator.failures import RunFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from innervate_evaluator.config import ScorerConfig
    from innervate_evaluator.dataset import Question

_CALL_SECONDS: Final = 30.0
_PATIENCE_SECONDS: Final = 60.0
"""How long a scoring service that is not there is waited for: its container starts anew."""
_PAUSE_SECONDS: Final = 0.5
_MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024


class Judged(NamedTuple):
    """A value, or why there is none."""

    value: float | None
    evidence: str


class Judge:
    """Asks the scoring service. Use it as an asynchronous context manager.

    Parameters
    ----------
    socket
        Where it serves.
    scorers
        What to score with.
    """

    def __init__(self, socket: Path, scorers: Sequence[ScorerConfig]) -> None:
        self._target = f"unix:{socket}"
        self._scorers = [_message(scorer) for scorer in scorers]
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(
            self._target,
            options=[
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_reconnect_backoff_ms", 1000),
            ],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def score(self, question: Question, output: str) -> dict[str, Judged]:
        """Score one answer by every scorer.

        Raises
        ------
        RunFailed
            The scoring service is not to be had.
        """
        sample = scoring_pb2.Sample(
            id=question.id, input=question.input, output=output, expected=question.expected
        )
        return {
            scorer.name: await self._score(scoring_pb2.ScoreRequest(scorer=scorer, sample=sample))
            for scorer in self._scorers
        }

    async def _score(self, request: scoring_pb2.ScoreRequest) -> Judged:
        if self._channel is None:
            raise RuntimeError("the judge is used outside of its context")
        stub = scoring_pb2_grpc.ScoringServiceStub(self._channel)
        begin = time.monotonic()
        while True:
            try:
                response = await stub.Score(request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    return Judged(None, f"too long to be scored: {error.details()}")
                if time.monotonic() - begin > _PATIENCE_SECONDS:
                    raise RunFailed(
                        "ScorerFailing",
                        f"the scoring service fails: {error.code().name}: {error.details()}",
                        permanent=False,
                    ) from error
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            return _judged(response)


def _judged(response: scoring_pb2.ScoreResponse) -> Judged:
    match response.WhichOneof("result"):
        case "value":
            return Judged(response.value, response.evidence)
        case "error":
            return Judged(None, response.error.message)
        case _:
            return Judged(None, "the scoring service gave neither a value nor an error")


def _message(config: ScorerConfig) -> scoring_pb2.Scorer:
    match config.type:
        case ScorerType.EXACT:
            return scoring_pb2.Scorer(
                name=config.name, exact=scoring_pb2.Exact(ignore_case=config.ignore_case)
            )
        case ScorerType.CONTAINS:
            return scoring_pb2.Scorer(
                name=config.name, contains=scoring_pb2.Contains(ignore_case=config.ignore_case)
            )
        case ScorerType.NUMERIC:
            return scoring_pb2.Scorer(
                name=config.name, numeric=scoring_pb2.Numeric(tolerance=config.tolerance or "")
            )
        case ScorerType.REGEX:
            return scoring_pb2.Scorer(name=config.name, regex=scoring_pb2.Regex(pattern=config.pattern or ""))
