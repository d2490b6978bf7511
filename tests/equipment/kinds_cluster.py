"""A cluster as a value: what rooms read, and the operator's set-up they plan with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api import kind as kinds
from innervate_kinds.api.kind import Kind, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.plan import Config, Trust
from innervate_kinds.registry import ROOMS
from innervate_kinds.rl_run.names import JOB_SET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONFIG = Config(
    version="0.1.0",
    namespace="innervate-system",
    service_account="innervate",
    trust_domain="innervate.local",
    identity_endpoint="innervate-identity.innervate-system.svc:7443",
    trust=Trust(ca_bundle="CA BUNDLE\n", jwks='{"keys": []}', issuer="https://issuer.example"),
    registry="registry.example/",
    images={},
    image_pull_policy="IfNotPresent",
    image_pull_secrets=("pull",),
    otlp_endpoint="http://telemetry.observability.svc:4317",
)

OPTIONAL: dict[str, Kind] = {JOB_SET.kind: JOB_SET}
"""Kinds that a cluster may lack: one has them where an object of theirs is in it."""
KINDS: dict[str, Kind] = (
    OPTIONAL
    | {room.kind.kind: room.kind for room in ROOMS}
    | {value.kind: value for value in vars(kinds).values() if isinstance(value, Kind)}
)


def model_release(name: str, namespace: str, *, verified: bool = True) -> dict[str, Any]:
    """A ModelRelease on a volume, as the API server returns it before or after its verdict."""
    status = {"verified": True, "conditions": [{"type": "Verified", "status": "True", "reason": "Verified"}]}
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "ModelRelease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"artifact": {"uri": "pvc://models", "digest": f"sha256:{'0' * 64}"}},
        **({"status": status} if verified else {}),
    }


class Cluster:
    """Objects, read as the operator's caches are.

    Parameters
    ----------
    objects
        Manifests as the API server would return them.
    """

    def __init__(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self._objects = {Reference.of(KINDS[item["kind"]], item): item for item in objects}

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        return self._objects.get(reference)

    def owned(self, kind: Kind, uid: str) -> Sequence[Mapping[str, Any]]:
        return [
            item for item in self.list(kind) if (item["metadata"].get("labels") or {}).get(OWNER_UID) == uid
        ]

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Mapping[str, Any]]:
        return [
            item
            for reference, item in self._objects.items()
            if reference.kind == kind and namespace in (None, reference.namespace)
        ]

    def available(self, kind: Kind) -> bool:
        if kind in OPTIONAL.values():
            return bool(self.list(kind))
        return kind in KINDS.values()
