"""What the gateway counts, in the process's Prometheus registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from innervate_gateway import tallies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric


REFUSED = Counter(
    "innervate_gateway_refused", "Requests refused before an arm was chosen, or by a full queue.", ["code"]
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


class _Tallies(Collector):
    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "innervate_gateway_requests", "Requests answered.", labels=["arm", "code"]
        )
        seconds = HistogramMetricFamily(
            "innervate_gateway_seconds", "From a request's arrival to its end.", labels=["arm"]
        )
        first_token = HistogramMetricFamily(
            "innervate_gateway_first_token_seconds",
            "From a streamed request's arrival to its first token.",
            labels=["arm"],
        )
        tokens = CounterMetricFamily(
            "innervate_gateway_tokens", "Tokens of requests.", labels=["arm", "kind"]
        )
        for name, arm_tally in tallies.arms.items():
            for code, count in arm_tally.requests.items():
                requests.add_metric([name, str(code)], count)
            arm_tally.seconds.tell(seconds, [name])
            arm_tally.first_token.tell(first_token, [name])
            tokens.add_metric([name, "input"], arm_tally.input_tokens)
            tokens.add_metric([name, "cached"], arm_tally.cached_tokens)
            tokens.add_metric([name, "output"], arm_tally.output_tokens)
        engine = CounterMetricFamily(
            "innervate_gateway_engine_seconds", "Engines' time that requests took.", labels=["variant"]
        )
        cost = CounterMetricFamily(
            "innervate_gateway_cost", "Price of the engines' time that requests took.", labels=["variant"]
        )
        for name, tally in tallies.variants.items():
            engine.add_metric([name], tally.seconds)
            cost.add_metric([name], tally.cost)
        yield from (requests, seconds, first_token, tokens, engine, cost)


REGISTRY.register(_Tallies())
