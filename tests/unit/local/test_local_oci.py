"""Images written without an image tool are well-formed."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

from innervate_local import oci

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, name: str) -> Path:
    program = directory / "program"
    program.write_bytes(b"#!/bin/true")
    program.chmod(0o755)
    return oci.write_image(
        directory / name, reference="x.local/p:1", files={"bin/p": program}, entrypoint=["/bin/p"]
    )


def test_every_descriptor_matches_its_blob(tmp_path: Path) -> None:
    with tarfile.open(write(tmp_path, "a.tar")) as tar:
        content = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]  # all are files

    def blob(descriptor: dict[str, str]) -> bytes:
        data = content[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert f"sha256:{hashlib.sha256(data).hexdigest()}" == descriptor["digest"]
        assert len(data) == descriptor["size"]
        return data

    [named] = json.loads(content["index.json"])["manifests"]
    assert named["annotations"]["io.containerd.image.name"] == "x.local/p:1"
    manifest = json.loads(blob(named))
    config = json.loads(blob(manifest["config"]))
    assert config["config"]["Entrypoint"] == ["/bin/p"]
    assert config["config"]["User"] not in {"", "0", "root"}
    [layer] = manifest["layers"]
    assert config["rootfs"]["diff_ids"] == [layer["digest"]]
    with tarfile.open(fileobj=io.BytesIO(blob(layer))) as files:
        assert files.getnames() == ["bin", "bin/p"]
        assert files.getmember("bin/p").mode == 0o755


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = write(tmp_path, "a.tar"), write(tmp_path, "b.tar")
    assert first.read_bytes() == second.read_bytes()
