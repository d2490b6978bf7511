"""What the operator asks a pool's gateways while a candidate is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_api.exchange.v1.exchange_pb2 import (
    OutcomesRequest,
    OutcomesResponse,
    RoutesRequest,
    RoutesResponse,
)

from innervate_kinds.api.names import child_name
from innervate_kinds.api.reader import Probe
from innervate_kinds.api.workload import GRPC_PORT
from innervate_kinds.learning_pipeline import names
from innervate_kinds.learning_pipeline.record import StepName
from innervate_kinds.parts.service import host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from innervate_kinds.learning_pipeline.model import LearningPipeline
    from innervate_kinds.learning_pipeline.state import Observed

OUTCOMES, ROUTES = "outcomes", "routes"
"""Names of the probes."""
_SERVICE = "/innervate_api.exchange.v1.ExchangeService"
_GATEWAY = "inferencepool"
"""What a pool's name is followed by in the name of its gateway's Service."""
_SECONDS = 1.0


def probes(pipeline: LearningPipeline, observed: Observed) -> Sequence[Probe]:
    """Ask for ready engines while one starts, and for feedback while the candidate is judged."""
    state = pipeline.status
    if observed.pool is None or observed.elder or state is None or state.step is None:
        return ()
    if state.step.name is StepName.WARMING:
        return (_probe(pipeline, ROUTES, "Routes", RoutesRequest().SerializeToString(), _routes),)
    if state.step.name is StepName.CANARY:
        request = OutcomesRequest(
            arms=names.arms(pipeline.metadata, state.rollout),
            feedback=pipeline.spec.rollout.judge.feedback,
        )
        return (_probe(pipeline, OUTCOMES, "Outcomes", request.SerializeToString(), _outcomes),)
    return ()


def _probe(pipeline: LearningPipeline, name: str, method: str, request: bytes, decode: Any) -> Probe:
    service = child_name(pipeline.spec.inference_pool_ref.name, _GATEWAY)
    return Probe(
        name=name,
        target=f"{host(service, pipeline.metadata.namespace)}:{GRPC_PORT}",
        method=f"{_SERVICE}/{method}",
        request=request,
        decode=decode,
        interval_seconds=_SECONDS,
    )


def _outcomes(answer: bytes) -> Mapping[str, tuple[int, int]]:
    """Units and successes by arm."""
    return {arm.arm: (arm.units, arm.successes) for arm in OutcomesResponse.FromString(answer).arms}


def _routes(answer: bytes) -> Mapping[str, Any]:
    """Ready replicas by arm, and what a gateway waits for."""
    routes = RoutesResponse.FromString(answer)
    return {
        "ready": {route.arm: route.ready_replicas for route in routes.routes},
        "waits_for": routes.waits_for,
    }
