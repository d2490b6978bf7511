"""The bench kind as a room: the same five children and the same status as the peer's."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from innervate_kinds.api import conditions
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind,
)
from innervate_kinds.api.plan import Child, Plan
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Definition, Room
from pydantic import Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from innervate_kinds.api.plan import Config, Failure
    from innervate_kinds.api.reader import ProbeResult, Reader

BUNDLE = Kind("bench.innervate.dev", "v1", "Bundle", "bundles")


class BundleSpec(Model):
    """What a ConfigMap child carries."""

    text: Annotated[str, Field(max_length=1024)] = ""


class Bundle(Resource[BundleSpec, Status]):
    """One object that stands for five children."""


class Reason(StrEnum):
    """Why Ready is as it is."""

    APPLIED = "Applied"
    FAILED = "Failed"


def observe(_bundle: Bundle, _reader: Reader, _probes: Mapping[str, ProbeResult]) -> None:
    """Read nothing: as in the peer, Ready means applied."""


def plan(bundle: Bundle, _observed: None, _config: Config, _now: datetime) -> Plan:
    """Plan what `children` in the peer's main.go applies."""
    name, labels = bundle.metadata.name, {"app.kubernetes.io/instance": bundle.metadata.name}
    selector = {"matchLabels": labels}
    container = {"name": "main", "image": "example.test/main:1"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"serviceAccountName": name, "containers": [container]},
    }
    port = {"name": "grpc", "protocol": "TCP", "port": 7443, "targetPort": 7443}
    contents: tuple[tuple[Kind, dict[str, Any]], ...] = (
        (SERVICE_ACCOUNT, {"automountServiceAccountToken": False}),
        (CONFIG_MAP, {"data": {"text": bundle.spec.text}}),
        (SERVICE, {"spec": {"selector": labels, "ports": [port]}}),
        (DEPLOYMENT, {"spec": {"replicas": 0, "selector": selector, "template": template}}),
        (NETWORK_POLICY, {"spec": {"podSelector": selector, "policyTypes": ["Ingress"]}}),
    )
    metadata = {"name": name, "namespace": bundle.metadata.namespace, "labels": labels}
    return Plan(
        apply=tuple(
            Child(kind, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content})
            for kind, content in contents
        )
    )


def status(
    bundle: Bundle, _observed: None, _plan: Plan, failures: Sequence[Failure], _now: datetime
) -> Status:
    """Tell whether every child was applied."""
    ready = (
        conditions.false(conditions.READY, Reason.FAILED, failures[0].message)
        if failures
        else conditions.true(conditions.READY, Reason.APPLIED)
    )
    return Status(observed_generation=bundle.metadata.generation, conditions=(ready,))


ROOM: Room[Bundle, None] = Room(
    definition=Definition(kind=BUNDLE, short_names=(), description="The bench kind."),
    model=Bundle,
    children=(SERVICE_ACCOUNT, CONFIG_MAP, SERVICE, DEPLOYMENT, NETWORK_POLICY),
    observe=observe,
    plan=plan,
    status=status,
)
