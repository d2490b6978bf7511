"""The account of one exchange: its record, its span, its counts, and what is kept of its bodies."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from innervate_gateway import tallies
from innervate_gateway.config import ContentPolicy
from innervate_gateway.records import Outcome, Record
from innervate_gateway.request import COMPLETIONS
from innervate_gateway.spans import ExchangeTrace

if TYPE_CHECKING:
    from innervate_gateway.completions import Usage
    from innervate_gateway.endpoints import Endpoint
    from innervate_gateway.request import Request
    from innervate_gateway.routes import Chosen, Routes

_MAX_CONTENT: Final = 256 * 1024
"""Bytes of a body that the log keeps; of a longer one it keeps the digest alone."""


class Account:
    """Gathers what is known of an exchange.

    Parameters
    ----------
    request
        What was asked.
    tenant
        Who asked, ``namespace/account``.
    chosen
        The arm.
    routes
        The routes it was chosen from.
    content
        What is kept of the bodies.
    """

    __slots__ = (
        "_answer_bytes",
        "_content",
        "_digest",
        "_endpoint",
        "_engine_seconds",
        "_kept",
        "_mark",
        "_request",
        "_routes",
        "_tally",
        "record",
        "trace",
    )

    def __init__(
        self, request: Request, *, tenant: str, chosen: Chosen, routes: Routes, content: ContentPolicy
    ) -> None:
        self._request = request
        self._routes = routes
        self._content = content
        self.trace = ExchangeTrace(
            request.path, traceparent=request.traceparent, tracestate=request.tracestate
        )
        self.record = Record(
            request_id=request.request_id,
            time_ms=int(request.request_id.partition("-")[0], 16),
            tenant=tenant,
            session=request.session,
            task=request.task,
            arm=chosen.arm.name,
            release=chosen.arm.release,
            propensity=chosen.propensity,
            trace_id=self.trace.trace_id,
        )
        self._tally = tallies.arm(chosen.arm.name)
        self._digest = None if content is ContentPolicy.NONE else sha256()
        self._kept: list[bytes] = []
        self._answer_bytes = 0
        self._endpoint: Endpoint | None = None
        self._mark = 0.0
        self._engine_seconds = 0.0

    def placed(self, now: float) -> None:
        """Note that the request left the queue."""
        self.record.queued_ms = _milliseconds(now - self._request.arrived)

    def begin(self, endpoint: Endpoint, now: float) -> None:
        """Note that an engine is asked."""
        self._endpoint = endpoint
        self._mark = endpoint.begin(now)
        self.record.variant = endpoint.replica.variant
        if self.trace.recorded:
            self.trace.begin_call(
                endpoint,
                engine=self._routes.engines.get(endpoint.replica.variant, ""),
                operation=COMPLETIONS[self._request.path],
                model=self._routes.pool.model,
            )

    def end(self, now: float, *, error: str = "") -> Endpoint | None:
        """Note that the engine is done with it; gives the engine."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is None:
            return None
        seconds = endpoint.end(self._mark, now)
        self._engine_seconds += seconds
        endpoint.tally.seconds += seconds
        cost = endpoint.cost(seconds)
        if cost is not None:
            endpoint.tally.cost += cost
            self.record.cost = f"{float(self.record.cost or 0) + cost:.9f}"
        if self.trace.recorded:
            self.trace.end_call(error=error, attributes=None if error else self._usage_attributes())
        return endpoint

    def use(self, usage: Usage) -> None:
        """Note the tokens."""
        self.record.input_tokens, self.record.cached_tokens, self.record.output_tokens = usage
        tally = self._tally
        tally.input_tokens += usage.input
        tally.cached_tokens += usage.cached
        tally.output_tokens += usage.output

    def first_token(self, now: float) -> None:
        """Note that the caller gets the first part of a stream."""
        seconds = now - self._request.arrived
        self.record.first_token_ms = _milliseconds(seconds)
        self._tally.first_token.add(seconds)

    def answered(self, data: bytes) -> None:
        """Take a part of the answer's body, as the caller gets it."""
        if self._digest is None:
            return
        self._digest.update(data)
        self._answer_bytes += len(data)
        if self._content is ContentPolicy.FULL and self._answer_bytes <= _MAX_CONTENT:
            self._kept.append(data)

    def close(self, outcome: Outcome, status: int, now: float) -> Record:
        """End the account; gives the record."""
        record = self.record
        seconds = now - self._request.arrived
        record.outcome, record.status_code = outcome, status
        record.total_ms = _milliseconds(seconds)
        self._keep_bodies()
        self._tally.requests[status] = self._tally.requests.get(status, 0) + 1
        self._tally.seconds.add(seconds)
        if self.trace.recorded:
            attributes: dict[str, str | int | float] = {
                "innervate.request_id": record.request_id,
                "innervate.arm": record.arm,
                "innervate.release": record.release,
                "innervate.caller": record.tenant,
                "gen_ai.operation.name": COMPLETIONS[self._request.path],
                "gen_ai.request.model": self._routes.pool.model,
                **self._usage_attributes(),
            }
            if record.session:
                attributes["gen_ai.conversation.id"] = record.session
            error = str(status) if record.failed else "abandoned" if outcome is Outcome.ABANDONED else ""
            self.trace.end(status=status, error=error, attributes=attributes)
        return record

    def _usage_attributes(self) -> dict[str, str | int | float]:
        record = self.record
        return {
            "gen_ai.usage.input_tokens": record.input_tokens,
            "gen_ai.usage.output_tokens": record.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": record.cached_tokens,
        }

    def _keep_bodies(self) -> None:
        if self._digest is None:
            return
        record, body = self.record, self._request.body
        record.request_digest = sha256(body).hexdigest()
        record.response_digest = self._digest.hexdigest()
        if self._content is ContentPolicy.FULL:
            if len(body) <= _MAX_CONTENT:
                record.request_content = body.decode("utf-8", "replace")
            if self._answer_bytes <= _MAX_CONTENT:
                record.response_content = b"".join(self._kept).decode("utf-8", "replace")


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
