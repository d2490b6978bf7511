"""What every call passes: span, metrics, error mapping, deadline, authentication, admission."""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc

from innervate_service import metrics
from innervate_service.auth import bearer_token, set_identity
from innervate_service.errors import DeadlineExceeded, Exhausted, ServiceError
from innervate_service.logs import get_logger
from innervate_service.status import status_of
from innervate_service.tracing import end_server_span, start_server_span, trace_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from opentelemetry.trace import Span

    from innervate_service.admission import Admission
    from innervate_service.auth import Authenticator
    from innervate_service.config import DeadlineConfig

Context = grpc.aio.ServicerContext[Any, Any]

_OPEN = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Infrastructure that anyone who can connect may call: it says nothing about data."""

_log = get_logger(__name__)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Puts everything that is the same for all calls around a handler.

    Parameters
    ----------
    authenticate
        Turns the call's token into an identity.
    admission
        Back-pressure.
    deadline
        Time limits.
    """

    def __init__(
        self, *, authenticate: Authenticator, admission: Admission, deadline: DeadlineConfig
    ) -> None:
        self._authenticate = authenticate
        self._admission = admission
        self._deadline = deadline

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_OPEN):
            return handler
        if handler.response_streaming:
            kind = "stream_stream" if handler.request_streaming else "unary_stream"
        else:
            kind = "stream_unary" if handler.request_streaming else "unary_unary"
        wrapped = self._wrap(method, getattr(handler, kind))
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            wrapped, handler.request_deserializer, handler.response_serializer
        )

    def _wrap(self, method: str, behaviour: Callable[[Any, Context], Any]) -> Callable[[Any, Context], Any]:
        if inspect.isasyncgenfunction(behaviour):

            async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
                async with self._call(method, context):
                    async for response in behaviour(request, context):
                        yield response

            return stream

        async def answer(request: Any, context: Context) -> Any:
            async with self._call(method, context):
                return await behaviour(request, context)

        return answer

    @asynccontextmanager
    async def _call(self, method: str, context: Context) -> AsyncIterator[None]:
        metadata = {str(key): value for key, value in context.invocation_metadata() or ()}
        span = start_server_span(method, metadata, context.peer())
        started = time.monotonic()
        in_flight = metrics.IN_FLIGHT.labels(method)
        in_flight.inc()
        code, message = grpc.StatusCode.UNKNOWN, None
        try:
            try:
                async with self._time_limit(context):
                    await self._admit_identity(metadata, span)
                    async with self._place():
                        yield
                code = _code(context)
            except grpc.aio.AbortError:
                # A handler that aborts by itself has its way.
                code, message = _code(context), context.details()
                raise
            except asyncio.CancelledError:
                remaining = context.time_remaining()
                late = remaining is not None and remaining <= 0
                code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # noqa: BLE001  the boundary: nothing passes it unmapped
                status = status_of(error, trace_id=trace_id(span))
                code, message = status.code, status.message
                _report(method, error, span)
                await context.abort(code, message, status.trailing_metadata)
        finally:
            in_flight.dec()
            metrics.REQUESTS.labels(method, code.name).inc()
            metrics.SECONDS.labels(method).observe(time.monotonic() - started)
            end_server_span(span, code, message)

    @asynccontextmanager
    async def _time_limit(self, context: Context) -> AsyncIterator[None]:
        asked = context.time_remaining()
        # None is "no deadline" for gRPC, which its types do not say.
        seconds = min(self._deadline.default_seconds if asked is None else asked, self._deadline.max_seconds)
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(
                f"the call was not done within its {seconds:.3g} s; whether it took effect is not known"
            ) from None

    async def _admit_identity(self, metadata: dict[str, str | bytes], span: Span) -> None:
        identity = await self._authenticate(bearer_token(metadata))
        set_identity(identity)
        span.set_attribute("innervate.caller.namespace", identity.namespace)
        span.set_attribute("innervate.caller.account", identity.account)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with self._admission.place():
                self._count()
                yield
        except Exhausted:
            metrics.REJECTED.inc()
            raise
        finally:
            self._count()

    def _count(self) -> None:
        metrics.RUNNING.set(self._admission.running)
        metrics.WAITING.set(self._admission.waiting)


def _report(method: str, error: Exception, span: Span) -> None:
    if isinstance(error, ServiceError):
        _log.debug("call refused", method=method, code=error.code, error=str(error))
    else:
        span.record_exception(error)
        _log.exception("call failed", error, method=method)


def _code(context: Context) -> grpc.StatusCode:
    """The code that a handler set itself; OK where it set none."""
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code
    return next((known for known in grpc.StatusCode if known.value[0] == code), grpc.StatusCode.OK)
