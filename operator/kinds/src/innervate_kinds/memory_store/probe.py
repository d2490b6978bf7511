"""What the operator asks a running store: how much it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_api.memory.v1.memory_pb2 import StatsRequest, StatsResponse

from innervate_kinds.api.reader import Probe
from innervate_kinds.api.workload import GRPC_PORT
from innervate_kinds.memory_store.names import Names
from innervate_kinds.parts.service import host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.memory_store.model import MemoryStore
    from innervate_kinds.memory_store.state import Observed

STATS = "stats"
"""Name of the probe."""
_METHOD = "/innervate_api.memory.v1.MemoryService/Stats"


_FIRST_SECONDS, _LATER_SECONDS = 2.0, 15.0


def probes(store: MemoryStore, observed: Observed) -> Sequence[Probe]:
    """Ask for the whole store's counts, once a service pod runs and its Redis is there.

    A pod that runs but is not ready is asked too: it knows what it waits for.
    """
    service = observed.service
    if service is None or not (service.available or _running(observed)):
        return ()
    names = Names.of(store.metadata.name)
    target = host(names.service if service.available else names.check, store.metadata.namespace)
    counted = store.status is not None and store.status.records is not None
    return (
        Probe(
            name=STATS,
            target=f"{target}:{GRPC_PORT}",
            method=_METHOD,
            request=StatsRequest().SerializeToString(),
            decode=_decode,
            interval_seconds=_LATER_SECONDS if counted else _FIRST_SECONDS,
            server_name=host(names.service, store.metadata.namespace),
        ),
    )


def _running(observed: Observed) -> bool:
    redis_is_there = observed.redis is None or observed.redis.complete
    pods = observed.service.pods if observed.service else ()
    return redis_is_there and any(container.running for pod in pods for container in pod.containers)


def _decode(answer: bytes) -> Mapping[str, int]:
    stats = StatsResponse.FromString(answer)
    return {
        "records": stats.records,
        "spaces": stats.spaces,
        "size_bytes": stats.size_bytes,
        "limit_bytes": stats.limit_bytes,
    }
