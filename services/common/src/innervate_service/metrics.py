"""What every service counts, in the process's Prometheus registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("innervate_rpc_requests", "Calls answered.", ["method", "code"])
SECONDS = Histogram(
    "innervate_rpc_seconds",
    "Time from a call's arrival to its answer, queueing included.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
IN_FLIGHT = Gauge("innervate_rpc_in_flight", "Calls that have arrived and are not answered.", ["method"])
RUNNING = Gauge("innervate_admission_running", "Calls that hold a place.")
WAITING = Gauge("innervate_admission_queue", "Calls that wait for a place.")
REJECTED = Counter("innervate_admission_rejected", "Calls refused because the queue was full.")
CERTIFICATE_EXPIRY = Gauge(
    "innervate_certificate_expiry_timestamp_seconds", "When the certificate in use ends, seconds since 1970."
)
CERTIFICATE_ISSUES = Counter(
    "innervate_certificate_issues", "Certificates asked for at the identity authority.", ["result"]
)
