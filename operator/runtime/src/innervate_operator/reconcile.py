"""One visit to one resource: observe, plan, apply, observe, tell. The same for every kind of event."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic

from innervate_kinds.api.conditions import READY, SUCCEEDED
from innervate_kinds.api.errors import Rejected, Retryable
from innervate_kinds.api.names import FINALIZER, OWNER_UID, PAUSED, TRACEPARENT
from innervate_kinds.api.room import ObservedT, ResourceT, Room
from innervate_service.logs import get_logger
from innervate_service.tracing import traceparent
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pydantic import ValidationError

from innervate_operator import metrics, status
from innervate_operator.apply import Outcome, failure_of
from innervate_operator.cache import Change, decode
from innervate_operator.errors import ApiError, LeadershipLost
from innervate_operator.events import Transition, transitions
from innervate_operator.ownership import Owner
from innervate_operator.undo import Undo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from innervate_kinds.api.kind import Reference
    from innervate_kinds.api.plan import Config
    from opentelemetry.trace import Span, Tracer

    from innervate_operator.apply import Applier
    from innervate_operator.cache import Caches
    from innervate_operator.client import Client
    from innervate_operator.clock import Clock
    from innervate_operator.events import Recorder
    from innervate_operator.prober import Prober
    from innervate_operator.wake import Waker

STATUS_MANAGER = "innervate-status"
"""Field manager of the whole status object."""
_PERMANENT_SECONDS = 60.0
"""How often a failure that only a person can mend is looked at again; reads only."""
_COUNTS_SECONDS = 60.0
"""Counts that come from probes reach the status at most once in this time."""
_WORDS_SECONDS = 10.0
"""Messages and counts of what has no probes: once in this time."""

_log = get_logger(__name__)
_PROPAGATOR = TraceContextTextMapPropagator()


class Result(StrEnum):
    """How a visit ended."""

    DONE = "done"
    GONE = "gone"
    PAUSED = "paused"
    DELETING = "deleting"
    FAILED = "failed"
    """Something permanent: a person must act."""
    RETRY = "retry"
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Visit:
    """What the queue is told.

    Parameters
    ----------
    result
        How it ended.
    after
        Seconds until the next visit; None for the resync's time, or the backoff's where it applies.
    """

    result: Result
    after: float | None = None

    @property
    def backoff(self) -> bool:
        """Whether the key counts as failed."""
        return self.result in {Result.RETRY, Result.BUG}


@dataclass(frozen=True, slots=True)
class Tools:
    """What every reconciler works with.

    Parameters
    ----------
    client, caches, applier, prober, waker, events, tracer, clock
        The runtime's parts.
    config
        The operator's own set-up, as of now.
    traced
        Whether spans go anywhere: only then does a status name one.
    """

    client: Client
    caches: Caches
    applier: Applier
    prober: Prober
    waker: Waker
    events: Recorder
    tracer: Tracer
    clock: Clock
    config: Callable[[], Config]
    traced: bool


@dataclass(slots=True)
class _Memory:
    """What is remembered of a resource between visits; nothing that a restart must not lose."""

    uid: str
    told_at: float = float("-inf")
    trace: dict[str, Any] | None = None
    about: tuple[int, str] = (0, "")


@dataclass(slots=True)
class _Subject:
    """The resource of one visit."""

    key: Reference
    raw: dict[str, Any]
    memory: _Memory
    trace: dict[str, Any] | None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata, as read."""
        content: Mapping[str, Any] = self.raw["metadata"]
        return content


class Reconciler(Generic[ResourceT, ObservedT]):
    """Reconciles the resources of one room.

    Parameters
    ----------
    room
        Decides.
    tools
        Carry out.
    """

    def __init__(self, room: Room[ResourceT, ObservedT], tools: Tools) -> None:
        self._room = room
        self._tools = tools
        self._store = tools.caches.own[room.kind]
        self._memories: dict[Reference, _Memory] = {}
        self._undo = Undo(tools.client, tools.caches, tools.events, tools.clock)

    async def reconcile(self, key: Reference) -> Visit:
        """Visit one resource; never raises but for lost leadership and cancellation."""
        started = time.perf_counter()
        entry = self._store.entry((key.namespace or "", key.name))
        if entry is None:
            self._forget(key)
            visit = Visit(Result.GONE)
        else:
            visit = await self._traced(key, decode(entry))
        kind = self._room.kind.kind
        metrics.RECONCILES.labels(kind, visit.result.value).inc()
        metrics.RECONCILE_SECONDS.labels(kind).observe(time.perf_counter() - started)
        return visit

    async def _traced(self, key: Reference, raw: dict[str, Any]) -> Visit:
        metadata = raw["metadata"]
        carried = {"traceparent": (metadata.get("annotations") or {}).get(TRACEPARENT, "")}
        cause = trace.get_current_span(_PROPAGATOR.extract(carried)).get_span_context()
        with self._tools.tracer.start_as_current_span(
            f"reconcile {self._room.kind.kind}",
            # A trace of its own: the change that caused it may have caused many.
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            links=[trace.Link(cause)] if cause.is_valid else [],
            attributes={
                "k8s.namespace.name": key.namespace or "",
                "k8s.object.kind": key.kind.kind,
                "k8s.object.name": key.name,
                "innervate.generation": metadata.get("generation", 0),
            },
        ) as span:
            subject = _Subject(key, raw, *self._remember(key, raw, span))
            visit = await self._guarded(subject, span)
            span.set_attribute("innervate.result", visit.result.value)
            return visit

    def _remember(
        self, key: Reference, raw: Mapping[str, Any], span: Span
    ) -> tuple[_Memory, dict[str, Any] | None]:
        metadata = raw["metadata"]
        memory = self._memories.get(key)
        if memory is not None and memory.uid != metadata["uid"]:
            self._forget(key)
            memory = None
        if memory is None:
            memory = self._memories[key] = _Memory(metadata["uid"])
        chapter = self._room.chapter(raw.get("status") or {})
        about = (metadata.get("generation", 0), chapter)
        if memory.trace is None or memory.about != about:
            header = traceparent(span.get_span_context()) if self._tools.traced else ""
            named = {"chapter": chapter} if chapter else {}
            memory.trace = {"generation": about[0], "traceparent": header, **named} if header else None
            memory.about = about
        return memory, memory.trace

    async def _guarded(self, subject: _Subject, span: Span) -> Visit:
        try:
            try:
                return await self._visit(subject)
            except Rejected as error:
                await self._tell_trouble(subject, error.reason, error.message, stalled=True)
                return Visit(Result.FAILED)
            except Retryable as error:
                await self._tell_trouble(subject, error.reason, error.message, stalled=False)
                return Visit(Result.RETRY, error.after)
            except ApiError:
                raise
            except LeadershipLost:
                raise
            except Exception as error:  # noqa: BLE001 -- a bug in one room must not end the operator
                metrics.BUGS.labels(self._room.kind.kind).inc()
                span.record_exception(error)
                _log.exception("a reconcile met an unforeseen error", error, resource=str(subject.key))
                message = (
                    "the operator met an unforeseen error and tries again; its log tells more about "
                    f"{subject.key}"
                )
                await self._tell_trouble(subject, "InternalError", message, stalled=False)
                return Visit(Result.BUG)
        except ApiError as error:
            if error.status == 404:
                # The resource itself went while it was visited; its deletion will come by the watch.
                return Visit(Result.RETRY)
            _log.warning("a reconcile could not be finished", resource=str(subject.key), error=error.message)
            return Visit(Result.RETRY, error.retry_after or None)

    async def _visit(self, subject: _Subject) -> Visit:
        room, tools, metadata = self._room, self._tools, subject.metadata
        annotations = metadata.get("annotations") or {}
        if "deletionTimestamp" not in metadata and PAUSED in annotations:
            tools.prober.stop(subject.key)
            await self._write(subject, status.paused(subject.raw, tools.clock.now()), patient=False)
            return Visit(Result.PAUSED)
        resource = self._parse(subject.raw)
        tools.waker.refer(subject.key, room.references(resource))
        observed = room.observe(resource, tools.caches, tools.prober.results(subject.key))
        if "deletionTimestamp" in metadata:
            tools.prober.stop(subject.key)
            if room.undo is None:
                return Visit(Result.DELETING)
            after = await self._undo.step(subject.raw, subject.key, room.undo(resource, observed))
            return Visit(Result.DELETING, after)
        if room.undo is not None and FINALIZER not in (metadata.get("finalizers") or ()):
            tools.caches.put_response(room.kind, await self._undo.hold(subject.raw, subject.key))
        plan = room.plan(resource, observed, tools.config(), tools.clock.now())
        outcome = await tools.applier.execute(plan, self._owner(subject))
        for written in outcome.ours:
            tools.waker.own_changed(Change(written.kind, written.namespace or "", written.name, ()))
        observed = room.observe(resource, tools.caches, tools.prober.results(subject.key))
        tools.prober.set(subject.key, room.probes(resource, observed))
        if not tools.prober.complete(subject.key):
            # The first answers wake this key again; a status without them would only be written twice,
            # and after a restart would take back what is known.
            return self._next(outcome, plan.requeue_after)
        told = room.status(resource, observed, plan, outcome.failures, tools.clock.now())
        stamped = status.stamped(told, subject.raw, tools.clock.now(), subject.trace)
        waits = await self._write(subject, stamped, patient=True)
        before = subject.raw.get("status") or {}
        if any(stamped.get(name) != before.get(name) for name in room.acts_on):
            # What was decided is written; now it is acted on.
            waits = 0.0
        return self._next(outcome, _sooner(plan.requeue_after, waits))

    def _parse(self, raw: Mapping[str, Any]) -> ResourceT:
        try:
            return self._room.model.model_validate(raw)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
                for problem in error.errors(include_url=False)[:5]
            )
            raise Rejected("InvalidSpec", f"the resource cannot be read: {problems}") from error

    def _owner(self, subject: _Subject) -> Owner:
        kind, metadata = self._room.kind, subject.metadata
        return Owner(
            kind.api_version, kind.kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"]
        )

    def _next(self, outcome: Outcome, after: float | None) -> Visit:
        if any(not failure.permanent for failure in outcome.failures):
            return Visit(Result.RETRY)
        if outcome.failures:
            return Visit(Result.FAILED, _sooner(after, _PERMANENT_SECONDS))
        return Visit(Result.DONE, _sooner(after, outcome.again_after))

    async def _tell_trouble(self, subject: _Subject, reason: str, message: str, *, stalled: bool) -> None:
        if "deletionTimestamp" in subject.metadata:
            return
        known = {condition.type for condition in status.previous_conditions(subject.raw)}
        content = status.troubled(
            subject.raw,
            reason,
            message,
            summary=SUCCEEDED if SUCCEEDED in known else READY,
            stalled=stalled,
            now=self._tools.clock.now(),
            trace=subject.trace,
        )
        await self._write(subject, content, patient=False)

    async def _write(self, subject: _Subject, content: dict[str, Any], *, patient: bool) -> float | None:
        """Write a status that differs; returns seconds to wait where only words and counts do."""
        old = subject.raw.get("status") or {}
        if content == old:
            return None
        now = self._tools.clock.monotonic()
        prompt = self._room.acts_on
        if patient and status.telling(content, prompt) == status.telling(old, prompt):
            probed = bool(self._tools.prober.results(subject.key))
            waits = subject.memory.told_at + (_COUNTS_SECONDS if probed else _WORDS_SECONDS) - now
            if waits > 0:
                return waits
        metadata = subject.metadata
        identity = {"name": metadata["name"], "uid": metadata["uid"]}
        if metadata.get("namespace"):
            identity["namespace"] = metadata["namespace"]
        manifest = {
            "apiVersion": self._room.kind.api_version,
            "kind": self._room.kind.kind,
            "metadata": identity,
            "status": content,
        }
        try:
            answer = await self._tools.client.apply(
                subject.key, manifest, manager=STATUS_MANAGER, subresource="status"
            )
        except ApiError as error:
            failure = failure_of(subject.key, error)
            if failure.permanent:
                # A status that the server refuses is our own mistake: it must not become a hot loop.
                raise RuntimeError(f"the API server refuses the status: {failure.message}") from error
            raise
        subject.memory.told_at = now
        self._tools.caches.put_response(self._room.kind, answer)
        owner = (metadata.get("labels") or {}).get(OWNER_UID)
        place = (self._room.kind, metadata.get("namespace") or "", metadata["name"])
        self._tools.waker.changed(Change(*place, (owner,) if owner else ()))
        for transition in transitions(old.get("conditions") or (), content.get("conditions") or ()):
            self._record(subject, transition)
        return None

    def _record(self, subject: _Subject, transition: Transition) -> None:
        self._tools.events.record(subject.raw, transition)

    def _forget(self, key: Reference) -> None:
        memory = self._memories.pop(key, None)
        if memory is not None:
            self._tools.applier.forget(memory.uid)
        self._tools.prober.stop(key)
        self._tools.waker.refer(key, ())


def _sooner(first: float | None, second: float | None) -> float | None:
    given = [seconds for seconds in (first, second) if seconds is not None]
    return min(given) if given else None
