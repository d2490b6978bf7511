"""What the operator asks a running store: how much it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_api.memory.v1.memory_pb2 import StatsRequest, StatsResponse

from innervate_kinds.api.reader import Probe
from innervate_kinds.api.workload import GRPC_PORT
from innervate_kinds.memory_store.names import Names, host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.memory_store.model import MemoryStore
    from innervate_kinds.memory_store.state import Observed

STATS = "stats"
"""Name of the probe."""
_METHOD = "/innervate_api.memory.v1.MemoryService/Stats"


def probes(store: MemoryStore, observed: Observed) -> Sequence[Probe]:
    """Ask for the whole store's counts once a service pod takes requests."""
    if observed.service is None or observed.service.available == 0:
        return ()
    service = host(Names.of(store.metadata.name).service, store.metadata.namespace)
    return (
        Probe(
            name=STATS,
            target=f"{service}:{GRPC_PORT}",
            method=_METHOD,
            request=StatsRequest().SerializeToString(),
            decode=_decode,
        ),
    )


def _decode(answer: bytes) -> Mapping[str, int]:
    stats = StatsResponse.FromString(answer)
    return {
        "records": stats.records,
        "spaces": stats.spaces,
        "size_bytes": stats.size_bytes,
        "limit_bytes": stats.limit_bytes,
    }
