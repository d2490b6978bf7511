"""What a user declares as a ModelRelease, and what is told of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from innervate_kinds.api.kind import GROUP, VERSION, Kind
from innervate_kinds.api.network import FORBIDDEN, FORBIDDEN_MESSAGE, PORT, is_forbidden
from innervate_kinds.api.resource import Model, Resource, Status
from innervate_kinds.api.room import Column, Definition, Rule
from innervate_kinds.api.scheduling import ConfigMapSource, ObjectName, SecretSource

MODEL_RELEASE = Kind(GROUP, VERSION, "ModelRelease", "modelreleases")

VERIFIED = "Verified"
"""Condition that says whether the release is what its digest says, by a key that counts."""

SEGMENTS = r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)*/?"
"""Pattern of a path in a store: neither hidden, nor upwards."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
"""A SHA-256 digest."""
StoreUri = Annotated[
    str,
    Field(
        pattern=rf"^(pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?{SEGMENTS}|s3://[a-z0-9][-a-z0-9.]*[a-z0-9]{SEGMENTS}"
        rf"|oci://[A-Za-z0-9][-A-Za-z0-9.]*{PORT}(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
        rf"|hf://[A-Za-z0-9][-A-Za-z0-9_.]*/[A-Za-z0-9][-A-Za-z0-9_.]*(@[A-Za-z0-9][-A-Za-z0-9_.]*)?{SEGMENTS})$",
        max_length=1024,
    ),
]
"""Address of a release store."""


class SecretRef(Model):
    """A Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""


class Credentials(Model):
    """How a store is entered."""

    secret_ref: SecretRef
    """For `s3://`, a Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`; for `oci://`,
    one of type `kubernetes.io/dockerconfigjson`; for `hf://`, one with the key `HF_TOKEN`."""


class Artifact(Model):
    """Where the release is, and what it is."""

    uri: StoreUri
    """The store: `pvc://claim[/path]`, `s3://bucket[/prefix]`, `oci://registry/repository` or, for reading,
    `hf://organisation/name[@revision][/path]`."""
    digest: Digest
    """Digest of the release's manifest, as `innervate release push` prints it."""
    endpoint: Annotated[str, Field(pattern=rf"^https?://[A-Za-z0-9.-]+{PORT}/?$", max_length=300)] | None = (
        None
    )
    """Where S3 is, for `s3://`, or the hub, for `hf://`; left out, at AWS or at huggingface.co."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$", min_length=1, max_length=63)] | None = None
    """Region of the bucket, for `s3://` only."""
    credentials: Credentials | None = None
    """How the store is entered; left out, without credentials. A volume needs none."""
    authorities: ConfigMapSource | None = None
    """Certificates in PEM of the authorities that certify the store's server, for one that the public ones do
    not know; left out, the public ones. At most 64 KiB."""


class ModelReleaseSpec(Model):
    """What the release is. Nothing of it can be changed."""

    artifact: Artifact
    """Where the release is, and what it is."""
    signing: SecretSource | None = None
    """Private key, Ed25519 in PEM, that signs the release before it is verified; left out, the release is
    signed already."""


class ModelReleaseStatus(Status):
    """What the operator knows about the release."""

    digest: Digest | None = None
    """Digest that the release was verified to have."""
    verified: bool | None = None
    """Whether every byte was read and found right, and the signature counts."""
    key_id: Annotated[str, Field(max_length=253)] | None = None
    """Name of the key that signed it, in the ConfigMap `innervate-release-keys`."""
    parents: Annotated[tuple[Digest, ...], Field(max_length=16)] = ()
    """Digests of the releases it comes from."""
    produced_by: Annotated[str, Field(max_length=1500)] | None = None
    """Who made it, as its manifest says."""
    size_bytes: Annotated[int, Field(strict=True, ge=0)] | None = None
    """Bytes of all its files."""
    job: Annotated[str, Field(max_length=63)] | None = None
    """Job whose verdict this is."""
    verified_time: datetime | None = None
    """When that Job ended."""


class ModelRelease(Resource[ModelReleaseSpec, ModelReleaseStatus]):
    """One version of a model: trained, judged, promoted and rolled back as a whole."""


def is_verified(release: ModelRelease) -> bool:
    """Whether the release may be served."""
    return release.status is not None and release.status.verified is True


def _scheme(release: ModelRelease) -> str:
    return release.spec.artifact.uri.partition(":")[0]


def _endpoint_fits(release: ModelRelease) -> bool:
    return _scheme(release) in {"s3", "hf"} or release.spec.artifact.endpoint is None


def _region_fits(release: ModelRelease) -> bool:
    return _scheme(release) == "s3" or release.spec.artifact.region is None


def _credentials_fit(release: ModelRelease) -> bool:
    artifact = release.spec.artifact
    return _scheme(release) != "pvc" or (artifact.credentials is None and artifact.authorities is None)


def _signing_fits(release: ModelRelease) -> bool:
    return _scheme(release) != "hf" or release.spec.signing is None


def _unchanged(release: ModelRelease, old: ModelRelease | None) -> bool:
    return old is None or release.spec == old.spec


DEFINITION = Definition(
    kind=MODEL_RELEASE,
    short_names=("rel",),
    description="ModelRelease is one version of a model: a signed, content-addressed set of files that is "
    "verified before anything serves it.",
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Key", ".status.keyId"),
        Column("Bytes", ".status.sizeBytes", "integer"),
        Column("Digest", ".spec.artifact.digest", priority=1),
        Column("Store", ".spec.artifact.uri", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Rule(
            path="spec",
            rule="self == oldSelf",
            message="a release cannot be changed; create another ModelRelease",
            holds=_unchanged,
        ),
        Rule(
            path="spec.artifact",
            rule="self.uri.startsWith('s3://') || self.uri.startsWith('hf://') || !has(self.endpoint)",
            message="an endpoint is for s3:// and hf:// only",
            holds=lambda release, _old: _endpoint_fits(release),
        ),
        Rule(
            path="spec.artifact",
            rule="self.uri.startsWith('s3://') || !has(self.region)",
            message="a region is for s3:// only",
            holds=lambda release, _old: _region_fits(release),
        ),
        Rule(
            path="spec",
            rule="!self.artifact.uri.startsWith('hf://') || !has(self.signing)",
            message="a hub is read only, so nothing can be signed there; push with a signature",
            holds=lambda release, _old: _signing_fits(release),
        ),
        Rule(
            path="spec.artifact.uri",
            rule=f"!self.matches('{FORBIDDEN}')",
            message=FORBIDDEN_MESSAGE,
            holds=lambda release, _old: not is_forbidden(release.spec.artifact.uri),
        ),
        Rule(
            path="spec.artifact.endpoint",
            rule=f"!self.matches('{FORBIDDEN}')",
            message=FORBIDDEN_MESSAGE,
            holds=lambda release, _old: not is_forbidden(release.spec.artifact.endpoint or ""),
        ),
        Rule(
            path="spec.artifact",
            rule="!self.uri.startsWith('pvc://') || (!has(self.credentials) && !has(self.authorities))",
            message="a volume needs neither credentials nor authorities",
            holds=lambda release, _old: _credentials_fit(release),
        ),
    ),
)
