"""Write OCI images: configurations, manifests, and one archive that carries several images."""

from __future__ import annotations

import io
import json
import platform
import tarfile
from typing import TYPE_CHECKING, NamedTuple

from innervate_local.images import layer, store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The kernel's names of machines, and OCI's."""


class Image(NamedTuple):
    """An image whose parts lie in the store."""

    reference: str
    """Its name with tag, as pods use it: ``innervate/memory:0.1.0``."""
    manifest: store.Blob
    config: store.Blob
    layers: tuple[store.Blob, ...]

    @property
    def name(self) -> str:
        """The name in full, as nodes list it: one without a registry belongs to the default one."""
        return f"docker.io/{self.reference}"


def image(reference: str, config: dict[str, object], layers: Iterable[store.Blob]) -> Image:
    """Put an image's configuration and manifest into the store.

    Parameters
    ----------
    reference
        The name with tag.
    config
        User, environment, entry point: the ``config`` object of the configuration.
    layers
        Uncompressed layers, the lowest first.
    """
    layers = tuple(layers)
    machine = platform.machine()
    described = store.put(
        _json(
            {
                "architecture": _ARCHITECTURES.get(machine, machine),
                "os": "linux",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [blob.digest for blob in layers]},
                # One entry per layer: without it builders refuse the image as a base.
                "history": [{"created_by": "innervate-local"} for _ in layers],
            }
        )
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _descriptor(_CONFIG, described),
        "layers": [_descriptor(_LAYER, blob) for blob in layers],
    }
    return Image(reference, store.put(_json(manifest)), described, layers)


def write(images: Iterable[Image], target: Path, *, without: frozenset[str] = frozenset()) -> None:
    """Write images as one OCI archive.

    Parameters
    ----------
    images
        What it carries; a layer that several share is in it once.
    target
        The file to write.
    without
        Digests of blobs that the reader already has and that are left out.
    """
    images = tuple(images)
    manifests = [
        {
            **_descriptor(_MANIFEST, each.manifest),
            "annotations": {
                "io.containerd.image.name": each.name,
                "org.opencontainers.image.ref.name": each.reference,
            },
        }
        for each in images
    ]
    digests = {blob.digest for each in images for blob in (each.manifest, each.config, *each.layers)}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}))
        for digest in sorted(digests - without):
            entry = tarfile.TarInfo(f"blobs/{digest.replace(':', '/')}")
            entry.size, entry.mtime = store.path(digest).stat().st_size, layer.EPOCH
            with store.path(digest).open("rb") as content:
                tar.addfile(entry, content)


def _descriptor(kind: str, blob: store.Blob) -> dict[str, object]:
    return {"mediaType": kind, "digest": blob.digest, "size": blob.size}


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(content), layer.EPOCH
    tar.addfile(entry, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
