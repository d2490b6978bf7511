"""Parts of NetworkPolicies."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from innervate_kinds.api.plan import Config, Manifest

PORT = r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
"""Pattern of a port in an address, where it may be left out: a number above 65535 is none."""
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label that Kubernetes puts on every namespace."""


def namespaces(names: Iterable[str]) -> Manifest:
    """Peer: every pod of these namespaces."""
    expression = {"key": NAMESPACE_NAME, "operator": "In", "values": sorted(set(names))}
    return {"namespaceSelector": {"matchExpressions": [expression]}}


def port(number: int, protocol: str = "TCP") -> Manifest:
    """One port of a rule."""
    return {"port": number, "protocol": protocol}


def dns() -> Manifest:
    """Egress to any resolver: a node-local cache or a host resolver is no pod one could select."""
    return {"ports": [port(53, "UDP"), port(53)]}


def identity(config: Config) -> Manifest:
    """Egress to the identity endpoint, in the operator's namespace."""
    return {
        "to": [namespaces([config.namespace])],
        "ports": [port(int(config.identity_endpoint.rpartition(":")[2]))],
    }


def telemetry(config: Config) -> list[Manifest]:
    """Egress to the telemetry endpoint: to its namespace where its name tells, else to its port."""
    if not config.otlp_endpoint:
        return []
    address = urlsplit(config.otlp_endpoint if "//" in config.otlp_endpoint else f"//{config.otlp_endpoint}")
    ports = [port(address.port or 4317)]
    labels = (address.hostname or "").split(".")
    if len(labels) > 2 and labels[2] == "svc":
        return [{"to": [namespaces([labels[1]])], "ports": ports}]
    return [{"ports": ports}]
