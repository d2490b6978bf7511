"""What the operator asks each gateway pod: which routes it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_api.exchange.v1.exchange_pb2 import RoutesRequest, RoutesResponse

from innervate_kinds.api.reader import Probe
from innervate_kinds.api.workload import GRPC_PORT
from innervate_kinds.inference_pool.names import Names
from innervate_kinds.parts.service import host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.inference_pool.model import InferencePool
    from innervate_kinds.inference_pool.state import Observed

_METHOD = "/innervate_api.exchange.v1.ExchangeService/Routes"
_FIRST_SECONDS, _LATER_SECONDS = 1.0, 15.0


def name(pod: str) -> str:
    """Key of the result for a gateway pod."""
    return f"routes/{pod}"


def probes(pool: InferencePool, observed: Observed) -> Sequence[Probe]:
    """Ask every ready gateway pod by its own address: each tells only for itself.

    Often while a change is on its way. By the status, not by the answers: other questions than before
    begin without answers, and would change again.
    """
    service = host(Names.of(pool.metadata.name).gateway, pool.metadata.namespace)
    routes = pool.status.routes if pool.status else None
    arrived = routes is not None and routes.acknowledged >= pool.metadata.generation
    return tuple(
        Probe(
            name=name(pod.name),
            target=f"[{pod.address}]:{GRPC_PORT}" if ":" in pod.address else f"{pod.address}:{GRPC_PORT}",
            method=_METHOD,
            request=RoutesRequest().SerializeToString(),
            decode=_decode,
            interval_seconds=_LATER_SECONDS if arrived else _FIRST_SECONDS,
            server_name=service,
        )
        for pod in observed.gateways
    )


def _decode(answer: bytes) -> Mapping[str, Any]:
    routes = RoutesResponse.FromString(answer)
    return {
        "generation": routes.generation,
        "releases": sorted({route.release for route in routes.routes}),
        "waits_for": routes.waits_for,
    }
