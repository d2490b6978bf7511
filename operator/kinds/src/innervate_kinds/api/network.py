"""Parts of NetworkPolicies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from innervate_kinds.api.plan import Config, Manifest

PORT = r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
"""Pattern of a port in an address, where it may be left out: a number above 65535 is none."""
FORBIDDEN: Final = (
    r"(?i)^(https?|oci)://(127[.]|169[.](254[.]|0[0-9x])|0[0-9]*[.]|0x|[0-9]+([.][0-9]+){0,2}[.]?([:/]|$)"
    r"|([-a-z0-9]+[.])*localhost[.]?([:/]|$)|(metadata|instance-data)([.]google|[.]ec2)?([.]internal)?[.]?([:/]|$))"
)
"""Pattern of addresses that are nobody's server: the pod's own, those of its node, and where clouds answer
whoever asks from a pod with credentials, however they are spelled."""
FORBIDDEN_MESSAGE: Final = (
    "a loopback or link-local host, or one where a cloud gives out credentials, is nobody's server"
)
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label that Kubernetes puts on every namespace."""


def namespaces(names: Iterable[str]) -> Manifest:
    """Peer: every pod of these namespaces."""
    expression = {"key": NAMESPACE_NAME, "operator": "In", "values": sorted(set(names))}
    return {"namespaceSelector": {"matchExpressions": [expression]}}


def port(number: int, protocol: str = "TCP") -> Manifest:
    """One port of a rule."""
    return {"port": number, "protocol": protocol}


def is_forbidden(address: str) -> bool:
    """Whether an address is one that nothing may be told to connect to."""
    return re.match(FORBIDDEN, address) is not None


def anywhere() -> list[Manifest]:
    """Peers: every pod, and every address that is neither link-local nor a cloud's for credentials.

    Pods are named besides the addresses, since some network plugins match no pod by its address.
    """
    return [
        {"namespaceSelector": {}},
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
        {"ipBlock": {"cidr": "::/0", "except": ["fd00:ec2::254/128", "fe80::/10"]}},
    ]


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
