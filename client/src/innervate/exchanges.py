"""The exchange log of an inference pool: what came of the requests it answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING

from innervate_api.exchange.v1 import exchange_pb2 as pb
from innervate_api.exchange.v1 import exchange_pb2_grpc

from innervate.calls import Call
from innervate.pools import INFERENCE_POOL
from innervate.route import DEFAULT_PORT
from innervate.rpc import RpcClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

SERVICE = "innervate_api.exchange.v1.ExchangeService"
BATCH = 256
"""Most feedback in one call."""


class ReportResult(StrEnum):
    """What became of feedback."""

    RECORDED = "recorded"
    """Written durably."""
    ALREADY_REPORTED = "already-reported"
    """The exchange has feedback of this name already, which stays."""
    UNKNOWN_EXCHANGE = "unknown-exchange"
    """There is no such exchange, or it left the log."""
    TOO_LATE = "too-late"
    """The exchange is older than the window in which feedback is taken."""


_RESULTS = {
    pb.REPORT_RESULT_RECORDED: ReportResult.RECORDED,
    pb.REPORT_RESULT_ALREADY_REPORTED: ReportResult.ALREADY_REPORTED,
    pb.REPORT_RESULT_UNKNOWN_EXCHANGE: ReportResult.UNKNOWN_EXCHANGE,
    pb.REPORT_RESULT_TOO_LATE: ReportResult.TOO_LATE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What came of an answer.

    Parameters
    ----------
    request_id
        Of the answer that is judged: `Answer.request_id`.
    name
        What is judged.
    value
        From 0, bad, to 1, good.
    expected
        What should have been answered, for learning; kept only where the pool keeps content.
    """

    request_id: str
    name: str = "success"
    value: float
    expected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOutcomes:
    """What came of one arm's exchanges since the arm got its name.

    Parameters
    ----------
    arm, release
        The arm, and what it serves.
    exchanges, errors
        Requests answered, and of those the failed ones.
    units, successes
        Sessions, and requests without one, with feedback; of those the ones of at least one half.
    """

    arm: str
    release: str
    exchanges: int
    errors: int
    units: int
    successes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A logged exchange.

    Parameters
    ----------
    request_id
        Its id.
    time
        When the request came.
    session, task, arm, release
        Of the request, and what answered it.
    request, response
        The bodies; empty unless the pool keeps content in full.
    feedback
        What was reported of it.
    """

    request_id: str
    time: datetime
    session: str
    task: str
    arm: str
    release: str
    request: str
    response: str
    feedback: tuple[Feedback, ...]


class ExchangeClient(RpcClient):
    """A pool's exchange log, for programs that block. Safe to share between threads.

    Parameters
    ----------
    route
        The way to the pool; `connect` and `from_kubernetes` make the usual ones.
    retry
        How patient to be.
    """

    stub = exchange_pb2_grpc.ExchangeServiceStub
    served = INFERENCE_POOL
    port = DEFAULT_PORT

    def report(self, feedback: Iterable[Feedback]) -> tuple[ReportResult, ...]:
        """Join feedback to exchanges; the same name twice counts once.

        Parameters
        ----------
        feedback
            Any number; each 256 of them are one call.

        Returns
        -------
        tuple of ReportResult
            One for each, in the same order.
        """
        listed = list(feedback)
        results: tuple[ReportResult, ...] = ()
        for start in range(0, len(listed), BATCH):
            results += self._send(report(listed[start : start + BATCH]))
        return results

    def outcomes(self, arms: Sequence[str] = (), *, feedback: str = "success") -> tuple[ArmOutcomes, ...]:
        """Count exchanges and feedback.

        Parameters
        ----------
        arms
            Arms by name; none means all that the log knows.
        feedback
            Name of the feedback that is counted.
        """
        return self._send(outcomes(arms, feedback))

    def list(self, *, arm: str = "", release: str = "", page_size: int = 500) -> Iterator[Exchange]:
        """Yield exchanges in the order they were logged; pages are read as they are needed.

        Parameters
        ----------
        arm, release
            Only those of this arm, or release.
        page_size
            How many are read at a time, up to 1,000.
        """
        token = ""
        while True:
            exchanges, token = self._send(page(arm, release, page_size, token))
            yield from exchanges
            if not token:
                return


def report(feedback: Sequence[Feedback]) -> Call[tuple[ReportResult, ...]]:
    """Join up to 256 pieces of feedback to exchanges."""
    request = pb.ReportRequest(
        feedback=[
            pb.Feedback(request_id=each.request_id, name=each.name, value=each.value, expected=each.expected)
            for each in feedback
        ]
    )
    return Call(
        "Report",
        request,
        lambda reply: tuple(_RESULTS[result] for result in reply.results),
        attributes={"innervate.feedback.count": len(feedback)},
        service=SERVICE,
    )


def outcomes(arms: Sequence[str], feedback: str) -> Call[tuple[ArmOutcomes, ...]]:
    """Count exchanges and feedback of arms."""
    return Call(
        "Outcomes",
        pb.OutcomesRequest(arms=arms, feedback=feedback),
        lambda reply: tuple(
            ArmOutcomes(
                arm=each.arm,
                release=each.release,
                exchanges=each.exchanges,
                errors=each.errors,
                units=each.units,
                successes=each.successes,
            )
            for each in reply.arms
        ),
        service=SERVICE,
    )


def page(arm: str, release: str, size: int, token: str) -> Call[tuple[tuple[Exchange, ...], str]]:
    """Read a page of the log, and the token of the next one; empty after the last."""
    return Call(
        "List",
        pb.ListRequest(arm=arm, release=release, page_size=size, page_token=token),
        lambda reply: (tuple(_exchange(each) for each in reply.exchanges), reply.next_page_token),
        service=SERVICE,
    )


def _exchange(message: pb.Exchange) -> Exchange:
    return Exchange(
        request_id=message.request_id,
        time=message.time.ToDatetime(UTC),
        session=message.session,
        task=message.task,
        arm=message.arm,
        release=message.release,
        request=message.request_content,
        response=message.response_content,
        feedback=tuple(
            Feedback(request_id=each.request_id, name=each.name, value=each.value, expected=each.expected)
            for each in message.feedback
        ),
    )
