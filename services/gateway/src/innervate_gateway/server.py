"""gRPC on one side, the exchange log and the routes on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from innervate_api.exchange.v1 import exchange_pb2, exchange_pb2_grpc
from innervate_service.auth import current_identity
from innervate_service.errors import PermissionDenied

from innervate_gateway.readings import Report
from innervate_gateway.records import Given

if TYPE_CHECKING:
    from innervate_gateway.callers import Access
    from innervate_gateway.readings import LogReader
    from innervate_gateway.records import Listed
    from innervate_gateway.routes import RouteBook

Context = grpc.aio.ServicerContext[Any, Any]

SERVICE: Final = "innervate_api.exchange.v1.ExchangeService"


class ExchangeServicer(exchange_pb2_grpc.ExchangeServiceServicer):
    """Serves the interface.

    Parameters
    ----------
    log
        The exchange log.
    routes
        The routes of this gateway.
    access
        Who may use the pool.
    """

    def __init__(self, log: LogReader, routes: RouteBook, *, access: Access) -> None:
        self._log = log
        self._routes = routes
        self._access = access

    async def Report(  # noqa: N802  the interface's name
        self,
        request: exchange_pb2.ReportRequest,
        context: Context,  # noqa: ARG002  gRPC's signature
    ) -> exchange_pb2.ReportResponse:
        """Join feedback to exchanges: who knows a request's id may judge it."""
        self._access.require(current_identity())
        reports = [
            Report(one.request_id, Given(one.name, one.value, one.expected)) for one in request.feedback
        ]
        results = await self._log.report(reports)
        return exchange_pb2.ReportResponse(
            results=[exchange_pb2.ReportResult.ValueType(result) for result in results]
        )

    async def Outcomes(  # noqa: N802  the interface's name
        self,
        request: exchange_pb2.OutcomesRequest,
        context: Context,  # noqa: ARG002  gRPC's signature
    ) -> exchange_pb2.OutcomesResponse:
        """Count exchanges and feedback of arms."""
        self._require_watching()
        counts = await self._log.outcomes(request.arms, request.feedback)
        return exchange_pb2.OutcomesResponse(
            arms=[exchange_pb2.ArmOutcomes(**count._asdict()) for count in counts]
        )

    async def List(  # noqa: N802  the interface's name
        self,
        request: exchange_pb2.ListRequest,
        context: Context,  # noqa: ARG002  gRPC's signature
    ) -> exchange_pb2.ListResponse:
        """Read the caller's own exchanges: others' questions are not its business."""
        identity = current_identity()
        if self._access.is_operator(identity):
            raise PermissionDenied("the operator counts exchanges, it does not read them")
        self._access.require(identity)
        page = await self._log.page(
            tenant=str(identity),
            arm=request.arm,
            release=request.release,
            size=request.page_size,
            token=request.page_token,
        )
        return exchange_pb2.ListResponse(
            exchanges=[_message(listed) for listed in page.exchanges], next_page_token=page.next_token
        )

    async def Routes(  # noqa: N802  the interface's name
        self,
        request: exchange_pb2.RoutesRequest,  # noqa: ARG002  it says nothing
        context: Context,  # noqa: ARG002  gRPC's signature
    ) -> exchange_pb2.RoutesResponse:
        """Tell which routes this gateway serves."""
        self._require_watching()
        routes, seen, waits_for = self._routes.state
        if routes is None:
            return exchange_pb2.RoutesResponse(seen_generation=seen, waits_for=waits_for)
        return exchange_pb2.RoutesResponse(
            generation=routes.pool.generation,
            routes=[
                exchange_pb2.Route(
                    arm=arm.name,
                    release=arm.release,
                    weight=arm.weight,
                    ready_replicas=len(routes.endpoints[arm.name]),
                )
                for arm in routes.pool.arms
            ],
            seen_generation=seen,
            waits_for=waits_for,
        )

    def _require_watching(self) -> None:
        identity = current_identity()
        if not self._access.is_operator(identity):
            self._access.require(identity)


def _message(listed: Listed) -> exchange_pb2.Exchange:
    record = listed.record
    message = exchange_pb2.Exchange(
        request_id=record.request_id,
        tenant=record.tenant,
        session=record.session,
        task=record.task,
        arm=record.arm,
        release=record.release,
        variant=record.variant,
        propensity=record.propensity,
        input_tokens=record.input_tokens,
        cached_tokens=record.cached_tokens,
        output_tokens=record.output_tokens,
        cost=record.cost,
        queued_ms=record.queued_ms,
        first_token_ms=record.first_token_ms,
        total_ms=record.total_ms,
        outcome=exchange_pb2.ExchangeOutcome.ValueType(record.outcome),
        status_code=record.status_code,
        trace_id=record.trace_id,
        request_digest=record.request_digest,
        response_digest=record.response_digest,
        request_content=record.request_content,
        response_content=record.response_content,
        feedback=[
            exchange_pb2.Feedback(
                request_id=record.request_id, name=given.name, value=given.value, expected=given.expected
            )
            for given in listed.feedback
        ],
    )
    message.time.FromMilliseconds(record.time_ms)
    return message
