"""One exchange: from a complete request to its record and the last byte of its answer.

An answer that is not streamed is gathered whole, so until then another engine can be asked; of a stream
nothing is sent before the engine's first tokens. The record is durable before the end of either is sent.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from innervate_gateway import metrics
from innervate_gateway.account import Account
from innervate_gateway.choice import choose_endpoint
from innervate_gateway.completions import Usage, engine_body, parse_completion, usage_in
from innervate_gateway.errors import Refusal, Refused
from innervate_gateway.records import Outcome
from innervate_gateway.sse import BadStream, EventFilter

if TYPE_CHECKING:
    from innervate_service.errors import ServiceError

    from innervate_gateway.connection import ClientConnection
    from innervate_gateway.core import Core
    from innervate_gateway.endpoints import Endpoint
    from innervate_gateway.request import Request
    from innervate_gateway.upstream import UpstreamConnection

_ATTEMPTS: Final = 3
"""How many engines are asked at most."""
_STALE_ATTEMPTS: Final = 8
"""How many connections that turn out too old are passed over, beside those."""
_TRY_ELSEWHERE: Final = frozenset({429, 502, 503, 504})
"""Answers of an engine that another may not give."""
_OURS: Final = frozenset({401, 403, 404})
"""Answers that are about us, not about the caller: a wrong key or model name."""
_EVENT_STREAM: Final = b"text/event-stream"


class _Stage(Enum):
    QUEUED = auto()
    ASKING = auto()
    CONCLUDED = auto()


class Exchange:
    """Does one request for a completion.

    Parameters
    ----------
    core
        What all exchanges share.
    caller
        Whom to answer.
    request
        What to do; its sender may use the pool.

    Raises
    ------
    Refused
        It cannot be done, and nothing is to be recorded of it.
    """

    __slots__ = (
        "_account",
        "_answer",
        "_arm",
        "_attempts",
        "_caller",
        "_completion",
        "_core",
        "_engine_headers",
        "_entered",
        "_events",
        "_headers",
        "_held",
        "_last_failure",
        "_refusal",
        "_request",
        "_routes",
        "_seconds",
        "_sent",
        "_stage",
        "_stale",
        "_status",
        "_tried",
        "_upstream",
    )

    def __init__(self, core: Core, caller: ClientConnection, request: Request) -> None:
        routes, identity = core.routes.current, request.identity
        if routes is None or identity is None:
            message = f"no request can be routed: {core.routes.problem()}"
            raise Refused(Refusal(503, "not_ready", message, retry_after=1))
        self._completion = parse_completion(request.body)
        if self._completion.model != routes.pool.model:
            message = f"there is no model {self._completion.model[:100]!r}; there is {routes.pool.model!r}"
            raise Refused(Refusal(404, "model_not_found", message, "model"))
        tenant = str(identity)
        key = f"{tenant}\n{request.session}" if request.session else request.request_id
        chosen = routes.pinned(request.release) if request.release else routes.choose(key)
        if chosen is None:
            known = ", ".join(sorted({arm.release for arm in routes.pool.arms}))
            message = f"no arm of the pool serves release {request.release[:253]!r}; served are: {known}"
            raise Refused(Refusal(404, "release_not_found", message, "x-innervate-release"))
        problem = core.log.problem(core.loop.time())
        if problem is not None:
            message = f"exchanges cannot be recorded, so none is begun: {problem}"
            raise Refused(Refusal(503, "log_unavailable", message, retry_after=1))
        self._core = core
        self._caller = caller
        self._request = request
        self._routes = routes
        self._arm = chosen.arm
        self._account = Account(request, tenant=tenant, chosen=chosen, routes=routes, content=core.content)
        self._headers = (
            f"x-innervate-request-id: {request.request_id}\r\n"
            f"x-innervate-release: {chosen.arm.release}\r\nx-innervate-arm: {chosen.arm.name}\r\n"
        ).encode()
        self._seconds = min(core.deadline_seconds, request.seconds or core.deadline_seconds)
        self._stage = _Stage.QUEUED
        self._entered: float | None = None
        self._upstream: UpstreamConnection | None = None
        self._attempts = 0
        self._stale = 0
        self._tried: list[Endpoint] = []
        self._last_failure = ""
        self._status = 0
        self._engine_headers: dict[bytes, bytes] = {}
        self._answer: list[bytes] = []
        self._held = 0
        self._events: EventFilter | None = None
        self._sent = False
        self._refusal: Refusal | None = None

    def begin(self) -> None:
        """Take a place, or wait for one.

        Raises
        ------
        Refused
            The queue is full.
        """
        admission = self._core.admission
        self._caller.begin_work(self, deadline=self._request.arrived + self._seconds)
        if not admission.enter(self, self._proceed):
            self._stage = _Stage.CONCLUDED
            self._account.trace.end(status=429, error="429", attributes={})
            message = (
                f"{admission.running} requests are being done and {admission.waiting} wait, which is all "
                "that this gateway takes; try again later"
            )
            raise Refused(Refusal(429, "queue_full", message, retry_after=admission.retry_after()))

    # -- the caller's side: `connection.Work`

    def expire(self) -> None:
        """See `connection.Work`."""
        message = f"there was no complete answer within {self._seconds:g} s"
        self._stop(Outcome.EXPIRED, Refusal(504, "deadline_exceeded", message))

    def abandon(self) -> None:
        """See `connection.Work`."""
        self._stop(Outcome.ABANDONED, Refusal(499, "abandoned", "the caller went away"))

    def pause(self) -> None:
        """See `connection.Work`."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """See `connection.Work`."""
        if self._upstream is not None:
            self._upstream.resume()

    def _stop(self, outcome: Outcome, refusal: Refusal) -> None:
        if self._stage is _Stage.CONCLUDED:
            return
        if self._stage is _Stage.QUEUED:
            self._core.admission.abandon(self)
        self._hang_up()
        self._account.end(self._core.loop.time(), error=outcome.name.lower())
        self._conclude(outcome, refusal)

    def _hang_up(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.cancel()

    # -- the engine's side: `upstream.Answer`

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """See `upstream.Answer`."""
        self._status, self._engine_headers = status, headers
        kind = headers.get(b"content-type", b"")
        if status == 200 and self._completion.stream and kind.lower().startswith(_EVENT_STREAM):
            self._events = EventFilter(keep_usage=self._completion.wants_usage)

    def on_data(self, data: bytes) -> None:
        """See `upstream.Answer`."""
        if self._events is not None:
            try:
                self._pass_on(self._events.feed(data))
            except BadStream as error:
                self._give_up(str(error))
            return
        limit = self._core.limits.max_body_bytes
        if self._held + len(data) > limit:
            self._give_up(f"its answer is longer than {limit} bytes")
        elif not self._core.hold(len(data)):
            self._give_up("the gateway holds as much as it can")
        else:
            self._held += len(data)
            self._answer.append(data)

    def on_end(self, *, framed: bool) -> None:
        """See `upstream.Answer`."""
        self._upstream = None
        status, now = self._status, self._core.loop.time()
        if status in _TRY_ELSEWHERE:
            self._failed(f"it answered {status}", eject=status != 429)
            return
        if status in _OURS:
            self._failed(f"it answered {status} to the gateway's own key or model name", eject=False)
            return
        if self._events is not None:
            usage, ended = self._events.usage, self._events.done
        else:
            usage = usage_in(b"".join(self._answer)) if status == 200 else Usage()
            ended = usage is not None
        if not framed and not ended:
            self._failed("it ended its answer in the middle", eject=True)
            return
        if status == 200:
            self._account.use(usage or Usage())
        endpoint = self._account.end(now, error=str(status) if status >= 400 else "")
        if endpoint is not None:
            endpoint.succeeded()
        self._conclude(Outcome.FAILED if status >= 500 else Outcome.ANSWERED, None)

    def on_failed(self, reason: str, *, fresh: bool) -> None:
        """See `upstream.Answer`."""
        self._upstream = None
        if self._stage is not _Stage.ASKING:
            return
        if fresh or self._sent or self._stale >= _STALE_ATTEMPTS:
            self._failed(reason, eject=True)
            return
        # The engine closed a connection for its age just when we used it: it is asked again.
        self._stale += 1
        endpoint = self._account.end(self._core.loop.time(), error="connection_closed")
        metrics.RETRIES.inc()
        if endpoint is not None:
            self._ask(endpoint)

    def _proceed(self) -> None:
        """There is a place."""
        self._stage = _Stage.ASKING
        self._entered = self._core.loop.time()
        self._account.placed(self._entered)
        self._dispatch()

    def _dispatch(self) -> None:
        endpoint = self._choose()
        if endpoint is not None:
            self._attempts += 1
            self._ask(endpoint)
            return
        why = f": {self._last_failure}" if self._last_failure else ""
        message = f"no engine of release {self._arm.release!r} takes requests{why}"
        status = 502 if self._last_failure else 503
        self._conclude(Outcome.FAILED, Refusal(status, "no_engine", message, retry_after=1))

    def _choose(self) -> Endpoint | None:
        """An engine of the arm; of the newest routes, where those of the beginning have none any more."""
        now = self._core.loop.time()
        for routes in (self._routes, self._core.routes.current):
            endpoints = routes.endpoints.get(self._arm.name, ()) if routes is not None else ()
            endpoint = choose_endpoint(endpoints, now, tried=self._tried)
            if endpoint is not None:
                return endpoint
        return None

    def _ask(self, endpoint: Endpoint) -> None:
        now = self._core.loop.time()
        self._account.begin(endpoint, now)
        connection = endpoint.take(now)
        if connection is None:
            endpoint.connect(self, lambda fresh: self._send(endpoint, fresh))
        else:
            self._send(endpoint, connection)

    def _send(self, endpoint: Endpoint, connection: UpstreamConnection) -> None:
        if self._stage is not _Stage.ASKING:
            connection.close()
            return
        replica = endpoint.replica
        try:
            body = engine_body(self._completion, self._request.body, model=replica.model)
        except Refused as error:
            endpoint.give(connection)
            self._account.end(self._core.loop.time(), error=error.refusal.code)
            self._conclude(Outcome.ANSWERED, error.refusal)
            return
        accept = "text/event-stream" if self._completion.stream else "application/json"
        head = (
            f"POST {replica.path}{self._request.path} HTTP/1.1\r\n{endpoint.head()}"
            f"{self._account.trace.headers()}accept: {accept}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._upstream = connection
        connection.send(self, head.encode("latin-1"), body)
        if self._caller.congested:
            connection.pause()

    def _failed(self, reason: str, *, eject: bool) -> None:
        """An engine did not do it: ask another, unless the caller has seen a part of the answer."""
        now = self._core.loop.time()
        self._last_failure = reason
        endpoint = self._account.end(now, error="engine_failed")
        if endpoint is not None:
            self._tried.append(endpoint)
            if eject:
                endpoint.failed(now)
        if self._sent or self._attempts >= _ATTEMPTS:
            self._conclude(Outcome.FAILED, Refusal(502, "engine_failed", f"the engine failed: {reason}"))
            return
        self._status, self._events = 0, None
        self._drop_answer()
        metrics.RETRIES.inc()
        self._dispatch()

    def _give_up(self, reason: str) -> None:
        """The engine's answer cannot be used, nor would another's be better."""
        self._hang_up()
        self._attempts = _ATTEMPTS
        self._failed(reason, eject=False)

    def _drop_answer(self) -> None:
        self._answer = []
        self._core.release(self._held)
        self._held = 0

    def _pass_on(self, data: bytes) -> None:
        if not data:
            return
        if not self._sent:
            self._sent = True
            self._account.first_token(self._core.loop.time())
            self._caller.begin_stream(self._answer_headers())
        self._account.answered(data)
        self._caller.stream(data)

    def _answer_headers(self) -> bytes:
        engine = b"".join(b"%b: %b\r\n" % header for header in self._engine_headers.items())
        return self._headers + engine

    def _conclude(self, outcome: Outcome, refusal: Refusal | None) -> None:
        """Record how it ended; then tell the caller."""
        self._stage = _Stage.CONCLUDED
        self._refusal = refusal
        if refusal is not None:
            self._drop_answer()
        else:
            if self._events is not None:
                self._answer = [self._events.finish()]
            for data in self._answer:
                self._account.answered(data)
        status = self._status if refusal is None else refusal.status
        record = self._account.close(outcome, status, self._core.loop.time())
        self._core.log.append(record, self._recorded)

    def _recorded(self, error: ServiceError | None) -> None:
        if error is not None:
            message = f"the exchange could not be recorded, so its answer is withheld: {error}"
            self._refusal = Refusal(503, "log_unavailable", message, retry_after=1)
        try:
            self._answer_caller()
        finally:
            self._caller.owe(self._held)
            self._answer, self._held = [], 0
            if self._entered is not None:
                self._core.admission.leave(self._core.loop.time() - self._entered)

    def _answer_caller(self) -> None:
        caller, refusal = self._caller, self._refusal
        if caller.work is not self:
            return  # it went away
        if refusal is None and self._events is None:
            caller.answer(self._status, self._answer_headers(), b"".join(self._answer))
        elif refusal is None:
            if not self._sent:
                caller.begin_stream(self._answer_headers())
            caller.end_stream(b"".join(self._answer))
        elif self._sent:
            # No [DONE]: clients know an event with an error, and a stream that only stops is none.
            caller.end_stream(b"data: " + refusal.body() + b"\n\n")
        else:
            caller.refuse(refusal, self._headers)
