"""How the operator reads what a running pod tells of itself: a JSON page on the health port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api import network, workload
from innervate_kinds.api.reader import HttpProbe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from innervate_kinds.api.plan import Config, Manifest
    from innervate_kinds.parts.pods import PodState

PATH = "/progress"
PORT = workload.HEALTH_PORT


def name(pod: str) -> str:
    """Key of the result for a pod."""
    return f"progress/{pod}"


def probe(
    pod: PodState,
    decode: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    *,
    interval_seconds: float = 15.0,
) -> HttpProbe:
    """Question to one pod, which must have an address.

    Parameters
    ----------
    pod
        The pod.
    decode
        Turns its page into plain values, and raises where the page is not as agreed: whatever runs in
        the pod may have written it.
    interval_seconds
        Time between two questions.
    """
    return HttpProbe(
        name=name(pod.name),
        address=pod.address,
        port=PORT,
        path=PATH,
        decode=decode,
        interval_seconds=interval_seconds,
    )


def ingress(config: Config) -> Manifest:
    """What a NetworkPolicy must let in: the operator's namespace, to the page."""
    return {"from": [network.namespaces([config.namespace])], "ports": [network.port(PORT)]}
