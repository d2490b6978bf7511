"""What the kubelet is told: alive while work goes on, ready once the caches are full."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_service.probes import Response, metrics_response, readiness_response

from innervate_operator import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from innervate_kinds.api.kind import Reference

    from innervate_operator.cache import Caches
    from innervate_operator.clock import Clock
    from innervate_operator.queue import Queue


class Health:
    """Answers probes from what the runtime knows of itself.

    Parameters
    ----------
    queue
        A key that waits for long while nothing is finished means that the operator is stuck.
    caches
        Ready once every store saw its first list.
    clock
        Measures.
    stuck_seconds
        How long is long.
    """

    def __init__(
        self, queue: Queue[Reference], caches: Caches, clock: Clock, *, stuck_seconds: float
    ) -> None:
        self._queue = queue
        self._caches = caches
        self._clock = clock
        self._stuck_seconds = stuck_seconds
        self._finished_at = clock.monotonic()
        self.working = False
        """Whether workers run: on a standby keys wait, and that is well."""
        self.failure: str | None = None
        """Why the operator is at its end, such as a lost lease."""
        self.starting: str | None = "starting"
        """What is still missing before it can be ready; None when nothing is."""

    def work_started(self) -> None:
        """Workers run from now on."""
        self.working = True
        self._finished_at = self._clock.monotonic()

    def finished(self) -> None:
        """A visit ended."""
        self._finished_at = self._clock.monotonic()

    def problem(self) -> str | None:
        """Why the operator should be restarted; None while it should not."""
        if self.failure is not None:
            return self.failure
        if not self.working:
            return None
        age = self._queue.oldest_age()
        idle = self._clock.monotonic() - self._finished_at
        if min(age, idle) > self._stuck_seconds:
            return f"a key waits for {age:.0f} s and nothing was finished for {idle:.0f} s"
        return None

    def unready(self) -> str | None:
        """Why the operator is not ready; None when it is."""
        if self.starting is not None:
            return self.starting
        missing = sorted({store.kind.kind for store in self._caches.all() if not store.synced})
        return f"waiting for the first list of {', '.join(missing)}" if missing else None

    def routes(self) -> Mapping[str, Callable[[], Response]]:
        """Answers of the health port."""
        return {
            "/livez": lambda: readiness_response(self.problem()),
            "/readyz": lambda: readiness_response(self.problem() or self.unready()),
        }

    def metrics(self) -> Response:
        """Answer of the metrics port, with the gauges of now."""
        metrics.QUEUE_DEPTH.set(self._queue.depth)
        metrics.QUEUE_AGE.set(self._queue.oldest_age())
        for store in self._caches.all():
            metrics.CACHED.labels(store.kind.kind).set(len(store))
        return metrics_response()
