"""What an apply would do, decided by the same pure functions that the operator runs."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self

from innervate_kinds.api.conditions import ACCEPTED, RESOLVED_REFS
from innervate_kinds.api.errors import Rejected, Retryable
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.plan import Config, Generated, Plan, Trust
from innervate_kinds.api.resource import ConditionStatus

from innervate.errors import NotFound, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_kinds.api.kind import Kind, Reference
    from innervate_kinds.api.resource import Resource
    from innervate_kinds.api.room import Room

    from innervate.kubectl import Kubectl
    from innervate.manifests import Document

OPERATOR_NAMESPACE = "innervate-system"
OPERATOR_NAME = "innervate-operator"
UNBORN_UID = "00000000-0000-0000-0000-000000000000"
"""Stands in a plan for the UID that a resource gets when it is created."""
FILLED_IN = "<filled in by the operator>"
"""Stands in a plan for what only the operator knows."""
DRAWN = "<drawn once by the operator>"
"""Stands in a plan for a generated secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What an apply of one resource would do.

    Parameters
    ----------
    document
        Where the resource was written.
    room, resource
        Its kind and what was read.
    plan
        The decision; None where it could not be made.
    warnings
        What stands in its way now, such as a reference to nothing.
    """

    document: Document
    room: Room[Any, Any]
    resource: Resource[Any, Any]
    plan: Plan | None
    warnings: tuple[str, ...]


class Reader:
    """What a plan may read: what stands in the same files, and the cluster where one is asked.

    Parameters
    ----------
    documents
        What stands in the files.
    kubectl
        How to ask the cluster; None to plan without one.
    namespace
        Namespace of documents that name none.
    """

    def __init__(self, documents: Sequence[Document], kubectl: Kubectl | None, namespace: str) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._written = [document.data for document in documents]
        self._owners: str | None = None
        self._live: dict[str, Any] = {}

    def beside(self, namespace: str | None) -> Self:
        """Reader that looks for children in their owner's namespace: a person may not list all others."""
        other = copy(self)
        other._owners = namespace  # noqa: SLF001  a copy of our own
        return other

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        """Object as written, else as the cluster has it."""
        for data in self._written:
            metadata = data.get("metadata") or {}
            place = metadata.get("namespace") or self._namespace if reference.kind.namespaced else None
            if (
                data.get("apiVersion") == reference.kind.api_version
                and data.get("kind") == reference.kind.kind
                and (place, metadata.get("name")) == (reference.namespace, reference.name)
            ):
                return data
        live: Mapping[str, Any] | None = self.live(reference.kind.path(reference.namespace, reference.name))
        return live

    def owned(self, kind: Kind, uid: str) -> Sequence[Mapping[str, Any]]:
        """Objects of the cluster that carry the owner label with this UID."""
        if uid == UNBORN_UID:
            return ()
        return self._listed(f"{kind.path(self._owners)}?labelSelector={OWNER_UID}%3D{uid}", kind)

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Mapping[str, Any]]:
        """Objects of a kind that the cluster has."""
        return self._listed(kind.path(namespace), kind)

    def available(self, kind: Kind) -> bool:
        """Whether the cluster serves the kind; without a cluster, assume so."""
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        if self._kubectl is None:
            return True
        served = (self.live(root) or {}).get("resources", ())
        return any(each["name"] == kind.plural for each in served)

    def live(self, path: str) -> Any:
        """What the cluster has at a path; None where there is nothing, or no cluster."""
        if self._kubectl is None:
            return None
        if path not in self._live:
            try:
                self._live[path] = self._kubectl.read(path)
            except NotFound:
                self._live[path] = None
        return self._live[path]

    def _listed(self, path: str, kind: Kind) -> Sequence[Mapping[str, Any]]:
        found = self.live(path) or {}
        # Lists leave out what every item is.
        return [
            {"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in found.get("items", ())
        ]


def decide(
    document: Document, room: Room[Any, Any], resource: Resource[Any, Any], reader: Reader, config: Config
) -> Planned:
    """Plan one valid resource."""
    live = reader.live(room.kind.path(resource.metadata.namespace, resource.metadata.name))
    uid = live["metadata"]["uid"] if live else UNBORN_UID
    metadata = resource.metadata.model_copy(update={"uid": uid})
    resource = resource.model_copy(update={"metadata": metadata})
    now = datetime.now(UTC)
    try:
        observed = room.observe(resource, reader.beside(metadata.namespace), {})
        plan = room.plan(resource, observed, config, now)
    except (Rejected, Retryable, PermissionDenied) as error:
        return Planned(document=document, room=room, resource=resource, plan=None, warnings=(error.message,))
    status = room.status(resource, observed, plan, (), now)
    warnings = tuple(
        condition.message
        for condition in status.conditions
        if condition.type in (ACCEPTED, RESOLVED_REFS) and condition.status is ConditionStatus.FALSE
    )
    return Planned(document=document, room=room, resource=resource, plan=plan, warnings=warnings)


def operator_config(reader: Reader, namespace: str = OPERATOR_NAMESPACE) -> Config:
    """Build the operator's settings: its own where the cluster has one, else the defaults.

    Parameters
    ----------
    reader
        Asked for the operator's Deployment.
    namespace
        Where the operator is, or would be.
    """
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{OPERATOR_NAME}"
    deployment = reader.live(path)
    settings: dict[str, str] = {}
    if deployment:
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        settings = {each["name"]: each.get("value", "") for each in container.get("env", ())}

    def setting(name: str, default: str) -> str:
        return settings.get(f"INNERVATE_{name}") or default

    secrets = setting("IMAGE_PULL_SECRETS", "")
    return Config(
        version=setting("VERSION", version("innervate")),
        namespace=namespace,
        service_account=setting("SERVICE_ACCOUNT", OPERATOR_NAME),
        trust_domain=setting("TRUST_DOMAIN", "innervate.local"),
        identity_endpoint=setting("IDENTITY_ENDPOINT", f"innervate-identity.{namespace}.svc:7443"),
        trust=Trust(ca_bundle=FILLED_IN, jwks=FILLED_IN, issuer=FILLED_IN),
        registry=setting("REGISTRY", ""),
        images=json.loads(setting("IMAGES", "{}")),
        image_pull_policy=setting("IMAGE_PULL_POLICY", "IfNotPresent"),
        image_pull_secrets=tuple(secrets.split(",")) if secrets else (),
        otlp_endpoint=setting("OTLP_ENDPOINT", "") or None,
    )


def printable(manifest: Any) -> Any:
    """Manifest with what is generated replaced by words, so that it can be printed."""
    if isinstance(manifest, Generated):
        return DRAWN
    if isinstance(manifest, dict):
        return {key: printable(value) for key, value in manifest.items()}
    if isinstance(manifest, list | tuple):
        return [printable(value) for value in manifest]
    return manifest
