"""Lines of JSON that a user provides, in a ConfigMap or on a volume: questions, or tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from innervate_kinds.api.kind import CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, Reference
from innervate_kinds.api.resource import Model
from innervate_kinds.api.room import Rule
from innervate_kinds.api.scheduling import ObjectName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from innervate_kinds.api.plan import Manifest

PATH = "/var/lib/innervate/dataset"
"""Where a container finds it."""


class ConfigMapKey(Model):
    """One key of a ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)]
    """Key in the ConfigMap's data."""


class VolumeFile(Model):
    """One file on a volume."""

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim; it is mounted read-only."""
    path: Annotated[
        str,
        Field(pattern=r"^[-A-Za-z0-9_.]+(/[-A-Za-z0-9_.]+)*$", min_length=1, max_length=1024),
    ]
    """Path below the volume's root, without `..`."""


class Dataset(Model):
    """Questions with known answers, one JSON object a line: exactly one of the two places."""

    config_map_ref: ConfigMapKey | None = None
    """The lines stand in a ConfigMap: at most 1 MiB."""
    persistent_volume_claim: VolumeFile | None = None
    """The lines stand in a file on a volume."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", max_length=64)] | None = None
    """SHA-256 of the file; another content is refused."""


def rules(path: str, each: Callable[[Any], Iterable[Dataset]]) -> tuple[Rule, ...]:
    """Rules of a dataset, wherever it stands.

    Parameters
    ----------
    path
        Where it stands, as in `Rule.path`.
    each
        Every dataset that a resource holds there.
    """
    return (
        Rule(
            path=path,
            rule="has(self.configMapRef) != has(self.persistentVolumeClaim)",
            message="exactly one of configMapRef and persistentVolumeClaim must be set",
            holds=lambda resource, _old: all(
                (dataset.config_map_ref is None) != (dataset.persistent_volume_claim is None)
                for dataset in each(resource)
            ),
        ),
        Rule(
            path=path,
            rule="!has(self.persistentVolumeClaim) || "
            "self.persistentVolumeClaim.path.split('/').all(part, part != '..' && part != '.')",
            message="persistentVolumeClaim.path must lie below the volume's root, without . and ..",
            holds=lambda resource, _old: all(map(_below_root, each(resource))),
        ),
    )


def _below_root(dataset: Dataset) -> bool:
    file = dataset.persistent_volume_claim
    return file is None or not {".", ".."} & set(file.path.split("/"))


def reference(dataset: Dataset, namespace: str | None) -> Reference:
    """The object that holds the lines."""
    if dataset.config_map_ref:
        return Reference(CONFIG_MAP, namespace, dataset.config_map_ref.name)
    claim = dataset.persistent_volume_claim
    return Reference(PERSISTENT_VOLUME_CLAIM, namespace, claim.claim_name if claim else "")


def source(dataset: Dataset) -> str:
    """Where the lines are, in words."""
    if dataset.config_map_ref:
        return f"ConfigMap {dataset.config_map_ref.name!r}, key {dataset.config_map_ref.key!r}"
    claim = dataset.persistent_volume_claim
    return f"PersistentVolumeClaim {claim.claim_name!r}, file {claim.path!r}" if claim else "the dataset"


def missing(dataset: Dataset, namespace: str | None, *, field: str) -> str:
    """What to say where the object that holds the lines does not exist.

    Parameters
    ----------
    dataset
        Where the lines should be.
    namespace
        Of the resource.
    field
        Path of the dataset in the resource: ``spec.dataset``.
    """
    if dataset.config_map_ref:
        name, key = dataset.config_map_ref.name, dataset.config_map_ref.key
        return (
            f"ConfigMap {name!r}, named in {field}.configMapRef, does not exist; create it: "
            f"`kubectl create -n {namespace} configmap {name} --from-file={key}`"
        )
    claim = dataset.persistent_volume_claim
    name = claim.claim_name if claim else ""
    return (
        f"PersistentVolumeClaim {name!r}, named in {field}.persistentVolumeClaim, does not exist; "
        f"create it, or name one of `kubectl get -n {namespace} pvc`"
    )


def file(dataset: Dataset) -> str:
    """Path of the lines in the container."""
    if dataset.config_map_ref:
        return f"{PATH}/{dataset.config_map_ref.key}"
    return f"{PATH}/{dataset.persistent_volume_claim.path if dataset.persistent_volume_claim else ''}"


def volume(dataset: Dataset) -> Manifest:
    """Volume of the pod that reads the lines."""
    found: dict[str, Any] = {"name": "dataset"}
    if dataset.config_map_ref:
        # Optional: without it a ConfigMap that vanishes would hold the pod, and nothing would tell why.
        found["configMap"] = {"name": dataset.config_map_ref.name, "optional": True}
    elif dataset.persistent_volume_claim:
        name = dataset.persistent_volume_claim.claim_name
        found["persistentVolumeClaim"] = {"claimName": name, "readOnly": True}
    return found


def mount() -> Manifest:
    """Mount of that volume."""
    return {"name": "dataset", "mountPath": PATH, "readOnly": True}
