"""What the enforcer reads from Kubernetes objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from innervate_local.addons.watching import Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_local.addons.watching import Object

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases in which a pod's address may already be another's."""


class NamedPort(NamedTuple):
    """A container port that has a name."""

    name: str
    protocol: str
    number: int


class Pod(NamedTuple):
    """A pod that policies apply to."""

    key: Key
    node: str
    address: str
    labels: Mapping[str, str]
    ports: tuple[NamedPort, ...]


def pod(raw: Object, *, address: str | None = None) -> Pod | None:
    """Read a pod.

    Parameters
    ----------
    raw
        The object.
    address
        Its address where that is known before the object says it.

    Returns
    -------
    Pod or None
        None for a pod that has ended, has no address yet, or shares its node's.
    """
    spec, status = raw.get("spec", {}), raw.get("status", {})
    found = address or status.get("podIP")
    if not found or spec.get("hostNetwork") or status.get("phase") in ENDED:
        return None
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    ports = tuple(
        NamedPort(port["name"], port.get("protocol", "TCP"), port["containerPort"])
        for container in containers
        for port in container.get("ports", ())
        if port.get("name")
    )
    metadata = raw["metadata"]
    return Pod(
        Key(metadata["namespace"], metadata["name"]),
        spec.get("nodeName", ""),
        found,
        metadata.get("labels") or {},
        ports,
    )


def matches(selector: Object, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector selects labels; an empty one selects all.

    Parameters
    ----------
    selector
        ``matchLabels`` and ``matchExpressions``.
    labels
        The labels.
    """
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case other:
            raise ValueError(f"no such selector operator: {other}")
