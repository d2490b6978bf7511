"""What the gateway counts, in the process's Prometheus registry.

What every request adds to is counted in plain numbers and told when Prometheus asks: the library's own
counters take a lock and look their labels up each time, which at this rate is a tenth of the work.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

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


class Durations:
    """A histogram of seconds."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(_BOUNDS, seconds)] += 1
        self._sum += seconds

    def tell(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Add what was counted to what Prometheus gets."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, _BOUNDS), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(labels, buckets, self._sum)


class ArmTally:
    """What one arm's requests add to."""

    __slots__ = ("cached_tokens", "first_token", "input_tokens", "output_tokens", "requests", "seconds")

    def __init__(self) -> None:
        self.requests: dict[int, int] = {}
        """By status code."""
        self.seconds = Durations()
        self.first_token = Durations()
        self.input_tokens = 0
        self.cached_tokens = 0
        self.output_tokens = 0


class VariantTally:
    """What one variant's engines did."""

    __slots__ = ("cost", "seconds")

    def __init__(self) -> None:
        self.cost = 0.0
        self.seconds = 0.0


_arms: Final[dict[str, ArmTally]] = {}
_variants: Final[dict[str, VariantTally]] = {}


def arm(name: str) -> ArmTally:
    """The tally of an arm."""
    tally = _arms.get(name)
    if tally is None:
        tally = _arms[name] = ArmTally()
    return tally


def variant(name: str) -> VariantTally:
    """The tally of a variant."""
    tally = _variants.get(name)
    if tally is None:
        tally = _variants[name] = VariantTally()
    return tally


def forget_arm(name: str) -> None:
    """Tell of an arm no more: rollouts give their arms fresh names, which would add up."""
    _arms.pop(name, None)


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
        for name, arm_tally in _arms.items():
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
        for name, tally in _variants.items():
            engine.add_metric([name], tally.seconds)
            cost.add_metric([name], tally.cost)
        yield from (requests, seconds, first_token, tokens, engine, cost)


REGISTRY.register(_Tallies())
