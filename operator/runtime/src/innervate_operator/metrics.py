"""What the operator counts, in the process's Prometheus registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter("innervate_reconciles", "Reconciles, by kind and result.", ["kind", "result"])
RECONCILE_SECONDS = Histogram(
    "innervate_reconcile_seconds",
    "Time of one reconcile.",
    ["kind"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
BUGS = Counter("innervate_reconcile_bugs", "Reconciles that ended in an error nobody foresaw.", ["kind"])
QUEUE_DEPTH = Gauge("innervate_queue_depth", "Keys that wait for a worker.")
QUEUE_AGE = Gauge("innervate_queue_oldest_seconds", "Age of the oldest key that waits or runs.")
WRITES = Counter("innervate_api_writes", "Writes sent to the API server.", ["kind", "verb"])
LEADER = Gauge("innervate_leader", "1 while this replica may write.")
CACHED = Gauge("innervate_cached_objects", "Objects in the caches, by kind.", ["kind"])
EVENTS_DROPPED = Counter("innervate_events_dropped", "Events that were not sent: too many, or refused.")


def count_write(kind: str, verb: str) -> None:
    """Count one write; Leases, Events and TokenReviews are housekeeping, not work."""
    if kind not in {"Lease", "Event", "TokenReview"}:
        WRITES.labels(kind, verb).inc()
