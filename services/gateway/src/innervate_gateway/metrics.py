"""What the gateway counts, in the process's Prometheus registry."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

REQUESTS = Counter(
    "innervate_gateway_requests", "Requests answered, by arm and status code.", ["arm", "code"]
)
REFUSED = Counter(
    "innervate_gateway_refused", "Requests refused before an arm was chosen, by status code.", ["code"]
)
SECONDS = Histogram(
    "innervate_gateway_seconds", "From a request's arrival to its end.", ["arm"], buckets=_SECONDS
)
FIRST_TOKEN = Histogram(
    "innervate_gateway_first_token_seconds",
    "From a streamed request's arrival to its first token.",
    ["arm"],
    buckets=_SECONDS,
)
TOKENS = Counter(
    "innervate_gateway_tokens", "Tokens by arm and kind: input, cached, output.", ["arm", "kind"]
)
COST = Counter("innervate_gateway_cost", "Price of the engines' time that requests took.", ["variant"])
ENGINE_SECONDS = Counter(
    "innervate_gateway_engine_seconds",
    "Engines' time that requests took, shared among those at once.",
    ["variant"],
)
RUNNING = Gauge("innervate_gateway_running", "Requests that are with an engine.")
QUEUE = Gauge("innervate_gateway_queue", "Requests that wait for a place.")
CONNECTIONS = Gauge("innervate_gateway_connections", "Open connections of callers.")
BUFFERED = Gauge("innervate_gateway_buffered_bytes", "Bodies held in memory.")
RETRIES = Counter("innervate_gateway_retries", "Requests sent again, to another engine or connection.")
EJECTIONS = Counter("innervate_gateway_ejections", "Engines left alone for a while.", ["variant"])
LOG_ENTRIES = Counter("innervate_gateway_log_entries", "Records written durably.")
LOG_BATCHES = Counter("innervate_gateway_log_batches", "Writes to the log, each of all records at hand.")
LOG_FAILURES = Counter("innervate_gateway_log_failures", "Writes to the log that failed.")
GENERATION = Gauge("innervate_gateway_routes_generation", "Generation of the InferencePool that is served.")
