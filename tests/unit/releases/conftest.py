"""A small model's directory, keys, and a store with a release and its parent in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from innervate_releases import keys, transfer
from innervate_releases.build import build
from innervate_releases.directory import DirectoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from innervate_releases.manifest import Manifest

settings.register_profile("releases", deadline=None)
settings.load_profile("releases")

FILES = {
    "model.safetensors": bytes(range(256)) * 40,
    "model.gguf": b"GGUF" + bytes(range(256)) * 30,
    "config.json": b'{"layers": 2}',
    "tokenizer.json": b'{"version": "1.0"}',
    "chat_template.jinja": b"{{ messages }}",
    "empty.txt": b"",
}


@dataclass(frozen=True)
class World:
    """A store with two releases, the second made from the first."""

    directory: Path
    store: DirectoryStore
    root: Path
    private: Ed25519PrivateKey
    trusted: Mapping[str, Ed25519PublicKey]
    parent: str
    digest: str
    manifest: Manifest


@pytest.fixture(scope="session")
def private() -> Ed25519PrivateKey:
    return keys.load_private(keys.generate()[0], "test")


@pytest.fixture(scope="session")
def trusted(private: Ed25519PrivateKey) -> Mapping[str, Ed25519PublicKey]:
    return {"team-a": private.public_key()}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    for name, content in FILES.items():
        (made / name).write_bytes(content)
    return made


@pytest.fixture
def world(
    tmp_path: Path,
    directory: Path,
    private: Ed25519PrivateKey,
    trusted: Mapping[str, Ed25519PublicKey],
) -> World:
    root = tmp_path / "store"
    store = DirectoryStore(root)
    (directory / "model.gguf").write_bytes(b"GGUF of the parent")
    parent = transfer.push(directory, build(directory, produced_by="a person"), store)
    (directory / "model.gguf").write_bytes(FILES["model.gguf"])
    manifest = build(directory, parents=[parent], hyperparameters={"learningRate": "0.001"})
    digest = transfer.push(directory, manifest, store)
    for each in (parent, digest):
        transfer.sign(store, each, private)
    return World(directory, store, root, private, trusted, parent, digest, manifest)
