"""What a reconcile wants of the cluster, as a value that can be printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_kinds.api.kind import Kind, Reference

Manifest = dict[str, Any]
"""A Kubernetes object as it is written in YAML."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Stands in an `ensure` manifest for a secret that runtime draws when it creates the object.

    Parameters
    ----------
    length
        Characters of URL-safe base64 alphabet.
    """

    length: int = 43


@dataclass(frozen=True, slots=True)
class Child:
    """One object to apply.

    Parameters
    ----------
    kind
        Its kind, which says where the API is. A Job is made once and then left as it is: its pods
        cannot be changed.
    manifest
        The fields that we own, nothing else.
    owned
        Whether runtime adds a controller owner reference (false for what must outlive its owner).
    adopt
        Whether an object that is there without a living owner may be taken over.
    scaled
        Whether `spec.replicas` is left out once an autoscaler owns it.
    """

    kind: Kind
    manifest: Manifest
    owned: bool = True
    adopt: bool = False
    scaled: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """Fields to set on an object that is not ours, which goes on without us.

    Parameters
    ----------
    kind
        Its kind.
    manifest
        Name, namespace and UID of the very object that was looked at, and the fields that we set, each
        list whole.
    manager
        Field manager under which they are set; whoever held them loses them.
    """

    kind: Kind
    manifest: Manifest
    manager: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person reading the plan should know: a permission, an egress, a cost."""

    topic: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The wanted state of everything a resource stands for.

    Parameters
    ----------
    apply
        Children to apply server-side, in this order.
    ensure
        Children to create once and then leave alone.
    delete
        Children that must be gone.
    patches
        Fields to set on objects that are not ours, once everything in `apply` is there.
    requeue_after
        Seconds until the next visit even if nothing changes; None for the resync's own time.
    notes
        What `innervate plan` prints besides the children.
    """

    apply: tuple[Child, ...] = ()
    ensure: tuple[Child, ...] = ()
    delete: tuple[Reference, ...] = ()
    patches: tuple[Patch, ...] = ()
    requeue_after: float | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """A child that could not be applied or deleted, for `status` to tell.

    Parameters
    ----------
    reference
        Which child.
    reason
        CamelCase word: `NotOwned`, `Forbidden`, `Invalid`, `Conflict`, `Unavailable`, `OwnerTerminating`.
    message
        The API server's words, or ours.
    permanent
        Whether trying again without a change is pointless.
    """

    reference: Reference
    reason: str
    message: str
    permanent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a service needs to verify its callers and its servers offline.

    Parameters
    ----------
    ca_bundle
        PEM of the identity authorities to trust.
    jwks
        JSON of the cluster's token-signing keys.
    issuer
        Issuer of the cluster's service account tokens.
    """

    ca_bundle: str
    jwks: str
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the operator's own set-up adds to a plan.

    Parameters
    ----------
    version
        Version of the operator, which is the tag of its images.
    namespace, service_account
        Where and as whom the operator runs.
    trust_domain
        SPIFFE trust domain.
    identity_endpoint
        ``host:port`` of the identity service.
    trust
        Trust anchors handed to every service.
    registry
        Prefix of image names, empty or ending in ``/``.
    images
        Overrides: image by service name.
    image_pull_policy
        Kubernetes pull policy of our images.
    image_pull_secrets
        Names of pull secrets, which must exist in the resource's namespace.
    otlp_endpoint
        Where services send telemetry; None for nowhere.
    """

    version: str
    namespace: str
    service_account: str
    trust_domain: str
    identity_endpoint: str
    trust: Trust
    registry: str
    images: Mapping[str, str]
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    otlp_endpoint: str | None

    def image(self, service: str) -> str:
        """Image of a service, by override or by convention."""
        return self.images.get(service) or f"{self.registry}innervate/{service}:{self.version}"
