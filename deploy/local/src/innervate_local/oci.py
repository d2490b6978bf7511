"""Write an image as an OCI archive, without any image tool.

Enough for images that are one static program; `load` takes the result.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"


class _Blob(NamedTuple):
    content: bytes
    descriptor: dict[str, object]


def write_image(
    archive: Path,
    *,
    reference: str,
    files: Mapping[str, Path],
    entrypoint: Sequence[str],
    user: str = "65532:65532",
) -> Path:
    """Write an image of one layer.

    The same input gives the same bytes.

    Parameters
    ----------
    archive
        The file to write; replaced at once when complete.
    reference
        The image's full name with its tag, as pods will ask for it.
    files
        Path in the image, without a leading slash, to the file on this machine
        whose content and permissions it gets.
    entrypoint
        What the image runs.
    user
        Who it runs as.

    Returns
    -------
    pathlib.Path
        `archive`.
    """
    layer = _blob(_layer(files), _LAYER)
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    configuration = _json_blob(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer.descriptor["digest"]]},
        },
        _CONFIG,
    )
    manifest = _json_blob(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": configuration.descriptor,
            "layers": [layer.descriptor],
        },
        _MANIFEST,
    )
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [manifest.descriptor | {"annotations": names}],
    }
    archive.parent.mkdir(parents=True, exist_ok=True)
    partial = archive.with_name(f".{archive.name}.{os.getpid()}")
    with tarfile.open(partial, "w") as tar:
        _add(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode(), 0o644)
        _add(tar, "index.json", json.dumps(index).encode(), 0o644)
        for blob in (layer, configuration, manifest):
            digest = str(blob.descriptor["digest"]).removeprefix("sha256:")
            _add(tar, f"blobs/sha256/{digest}", blob.content, 0o644)
    return partial.replace(archive)


def _layer(files: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        directories: dict[str, None] = {}
        for name in sorted(files):
            for depth in range(1, name.count("/") + 1):
                directories["/".join(name.split("/")[:depth])] = None
        for directory in directories:
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, source in sorted(files.items()):
            _add(tar, name, source.read_bytes(), source.stat().st_mode & 0o777)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _blob(content: bytes, media_type: str) -> _Blob:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return _Blob(content, {"mediaType": media_type, "digest": digest, "size": len(content)})


def _json_blob(content: dict[str, object], media_type: str) -> _Blob:
    return _blob(json.dumps(content, sort_keys=True).encode(), media_type)
