"""Asks the scoring service in the next container."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import grpc
from innervate_api.scoring.v1 import scoring_pb2, scoring_pb2_grpc

from innervate_environments import metrics
from innervate_environments.verifying import Score, ScorerType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from innervate_environments.config import RewardConfig
    from innervate_environments.verifying import Answer

_CALL_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.2
_AT_ONCE: Final = 64
_MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
_AWAY: Final = frozenset({grpc.StatusCode.UNAVAILABLE})
"""What is worth waiting for: the service is not there, and so has judged nothing."""


class ScoringClient:
    """Scores answers by an environment's rewards. See `Verifier`; needs a running event loop.

    Parameters
    ----------
    socket
        Where the scoring service serves.
    rewards
        What to score by.
    patience
        Seconds that a service which is not there is waited for: its container may start anew.
    """

    def __init__(self, socket: Path, rewards: Sequence[RewardConfig], *, patience: float) -> None:
        self._channel = grpc.aio.insecure_channel(
            f"unix:{socket}",
            options=[
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_reconnect_backoff_ms", 500),
            ],
        )
        self._stub = scoring_pb2_grpc.ScoringServiceStub(self._channel)
        self._scorers = [_scorer(reward) for reward in rewards]
        self._patience = patience
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, answer: Answer) -> Sequence[Score]:
        """See `Verifier`."""
        sample = scoring_pb2.Sample(
            id=answer.id, input=answer.input, output=answer.output, expected=answer.expected
        )
        async with self._places:
            return [await self._score(scorer, sample) for scorer in self._scorers]

    async def close(self) -> None:
        """Give up the connection."""
        await self._channel.close()

    async def _score(self, scorer: scoring_pb2.Scorer, sample: scoring_pb2.Sample) -> Score:
        request = scoring_pb2.ScoreRequest(scorer=scorer, sample=sample)
        until = time.monotonic() + self._patience
        while True:
            try:
                response = await self._stub.Score(request, timeout=_CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() in _AWAY and time.monotonic() < until:
                    await asyncio.sleep(_PAUSE_SECONDS)
                    continue
                metrics.SCORES.labels(scorer.name, "unanswered").inc()
                return Score(None, f"the scoring service fails: {error.code().name}: {error.details()}")
            match response.WhichOneof("result"):
                case "value":
                    metrics.SCORES.labels(scorer.name, "value").inc()
                    return Score(response.value)
                case "error":
                    metrics.SCORES.labels(scorer.name, "error").inc()
                    return Score(None, response.error.message or "the scorer gave an error without words")
                case _:
                    metrics.SCORES.labels(scorer.name, "error").inc()
                    return Score(None, "the scoring service gave neither a value nor an error")


def _scorer(reward: RewardConfig) -> scoring_pb2.Scorer:
    config = reward.scorer
    match config.type:
        case ScorerType.EXACT:
            exact = scoring_pb2.Exact(ignore_case=config.ignore_case)
            return scoring_pb2.Scorer(name=reward.name, exact=exact)
        case ScorerType.CONTAINS:
            contains = scoring_pb2.Contains(ignore_case=config.ignore_case)
            return scoring_pb2.Scorer(name=reward.name, contains=contains)
        case ScorerType.NUMERIC:
            numeric = scoring_pb2.Numeric(tolerance=config.tolerance or "")
            return scoring_pb2.Scorer(name=reward.name, numeric=numeric)
        case ScorerType.REGEX:
            regex = scoring_pb2.Regex(pattern=config.pattern or "")
            return scoring_pb2.Scorer(name=reward.name, regex=regex)
