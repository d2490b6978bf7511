"""What the operator asks each server pod: what it serves, and how many slots are free."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_api.env.v1.env_pb2 import DescribeRequest, DescribeResponse

from innervate_kinds.api.reader import Probe
from innervate_kinds.api.workload import GRPC_PORT
from innervate_kinds.environment.names import Names
from innervate_kinds.parts.service import host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.environment.model import Environment
    from innervate_kinds.environment.state import Observed

_METHOD = "/innervate_api.env.v1.EnvironmentService/Describe"
_FIRST_SECONDS, _LATER_SECONDS = 2.0, 15.0
_LONGEST_ID, _LONGEST_DIGEST = 256, 80


def name(pod: str) -> str:
    """Key of the result for a pod."""
    return f"describe/{pod}"


def probes(environment: Environment, observed: Observed) -> Sequence[Probe]:
    """Ask every ready pod by its own address: slots are counted for each."""
    service = host(Names.of(environment.metadata.name).server, environment.metadata.namespace)
    described = environment.status is not None and environment.status.capacity is not None
    return tuple(
        Probe(
            name=name(pod.name),
            target=f"[{pod.address}]:{GRPC_PORT}" if ":" in pod.address else f"{pod.address}:{GRPC_PORT}",
            method=_METHOD,
            request=DescribeRequest().SerializeToString(),
            decode=_decode,
            interval_seconds=_LATER_SECONDS if described else _FIRST_SECONDS,
            server_name=service,
        )
        for pod in observed.servers
    )


def _decode(answer: bytes) -> Mapping[str, Any]:
    """What was told, held to what a status may say: the server may be of anybody's image."""
    found = DescribeResponse.FromString(answer)
    chain = {
        "environment": found.chain.environment,
        "image": found.chain.image,
        "rewards": found.chain.rewards,
        "tasks": found.chain.tasks,
    }
    counts = {
        "capacity": found.capacity,
        "free": found.free,
        "training": found.training_tasks,
        "evaluation": found.evaluation_tasks,
    }
    if len(found.id) > _LONGEST_ID or any(len(digest) > _LONGEST_DIGEST for digest in chain.values()):
        raise ValueError("the id or a digest of its description is too long")
    if min(counts.values()) < 0:
        raise ValueError("a count of its description is negative")
    return {"id": found.id, "chain": chain, **counts}
