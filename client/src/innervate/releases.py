"""Model releases from a laptop: into stores that it reaches itself, and into volumes through a pod."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import rfc8785
from innervate_kinds.api.kind import CONFIG_MAP, SECRET
from innervate_kinds.model_release.model import MODEL_RELEASE, Artifact
from innervate_kinds.parts import releases as parts
from innervate_releases import digests, keys, signing, transfer
from innervate_releases import store as stores
from innervate_releases.errors import Part, ReleaseError
from innervate_releases.location import open_store, parse
from innervate_releases.manifest import parse as parse_manifest

from innervate.errors import ClusterRefused, Conflict, InvalidArgument, NotFound, Unavailable
from innervate.release_volume import VolumePod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from innervate_kinds.api.plan import Config
    from innervate_releases.manifest import Manifest
    from innervate_releases.store import Key

    from innervate.kubectl import Kubectl
    from innervate.release_volume import Objects


@contextmanager
def plainly() -> Iterator[None]:
    """Turn what can be wrong with a release into an error of the command."""
    try:
        yield
    except ReleaseError as error:
        kind = Unavailable if error.part is Part.STORE else InvalidArgument
        raise kind(str(error)) from error


def push(
    uri: str,
    directory: Path,
    manifest: Manifest,
    *,
    kubectl: Kubectl,
    config: Callable[[], Config],
    key: Ed25519PrivateKey | None = None,
    again: bool = False,
    progress: Callable[[str, int], None] | None = None,
) -> str:
    """Put a release into a store, and its signature beside it where there is a key.

    Parameters
    ----------
    uri
        The store; ``pvc://`` is a claim of the namespace, reached through a pod.
    directory, manifest
        The files, and what `innervate_releases.build.build` says of them.
    kubectl
        How to reach the cluster, for a claim.
    config
        The operator's set-up, for the pod's image.
    key
        Private key to sign with.
    again
        Send what is there already, too.
    progress
        Told a file's path and how many of its bytes were sent.

    Returns
    -------
    str
        The release's digest.
    """
    with plainly():
        if parse(uri).scheme != "pvc":
            target = open_store(uri)
            absent = [parent for parent in manifest.parents if not _held(target, parent)]
            _expect_parents(uri, absent)
            digest = transfer.push(directory, manifest, target, again=again, progress=progress)
            if key:
                transfer.sign(target, digest, key)
            return digest
        with VolumePod(kubectl, uri, config()) as pod:
            wanted = [stores.manifest(parent) for parent in manifest.parents]
            _expect_parents(uri, [each.digest for each in wanted if each in pod.lacking(wanted)])
            pod.put(_objects(directory, manifest, key), again=again, progress=progress)
        return manifest.digest


def read_manifest(artifact: Artifact, *, kubectl: Kubectl, config: Callable[[], Config]) -> Manifest:
    """Read a release's manifest from its store; what comes back has the digest that was asked for."""
    with plainly():
        if parse(artifact.uri).scheme != "pvc":
            return transfer.read_manifest(open_store(artifact.uri), artifact.digest)
        with VolumePod(kubectl, artifact.uri, config()) as pod:
            found = pod.manifest(artifact.digest)
        return parse_manifest(rfc8785.dumps(found), artifact.digest)


def trust(kubectl: Kubectl, name: str, public: bytes) -> None:
    """Add a public key to those whose signatures count in the namespace.

    Raises
    ------
    Conflict
        Another key has that name.
    """
    namespace = kubectl.current_namespace()
    patch = json.dumps({"data": {name: public.decode()}})
    try:
        found = kubectl.read(CONFIG_MAP.path(namespace, parts.KEYS))
    except NotFound:
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": parts.KEYS}}
        kubectl.run("create", "-f", "-", stdin=json.dumps({**manifest, **json.loads(patch)}))
        return
    held = (found.get("data") or {}).get(name)
    if held is not None and held.strip() != public.decode().strip():
        raise Conflict(
            f"another key is trusted as {name!r} in namespace {namespace}",
            fix=f"choose another --name, or remove it: kubectl edit -n {namespace} configmap {parts.KEYS}",
        )
    kubectl.run("patch", "configmap", parts.KEYS, "--type=merge", f"--patch={patch}")


def keep_secret(kubectl: Kubectl, name: str, private: bytes) -> None:
    """Put a private key into a Secret of the namespace, which must not be there."""
    manifest = {
        "apiVersion": "v1",
        "kind": SECRET.kind,
        "metadata": {"name": name},
        "type": "Opaque",
        "stringData": {keys.PRIVATE_KEY: private.decode()},
    }
    try:
        kubectl.run("create", "-f", "-", stdin=json.dumps(manifest))
    except ClusterRefused as error:
        if "already exists" in error.message:
            raise Conflict(
                f"Secret {name!r} exists; a key is not overwritten",
                fix="name another with --secret, or use this one: innervate release push … --signer",
            ) from error
        raise


def keep_file(path: Path, private: bytes) -> None:
    """Write a private key into a file that only its owner reads, which must not be there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Conflict(f"{path} exists; a key is not overwritten", fix="name another file") from error
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}", field="out") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)


def declare(kubectl: Kubectl, name: str, spec: Mapping[str, Any]) -> None:
    """Create a ModelRelease; the same one may be there already.

    Raises
    ------
    Conflict
        Another release has that name.
    """
    namespace = kubectl.current_namespace()
    try:
        found = kubectl.read(MODEL_RELEASE.path(namespace, name))
    except NotFound:
        manifest = {
            "apiVersion": MODEL_RELEASE.api_version,
            "kind": MODEL_RELEASE.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        kubectl.run("create", "-f", "-", stdin=json.dumps(manifest))
        return
    if found["spec"] != spec:
        held = found["spec"]["artifact"]["digest"]
        raise Conflict(
            f"ModelRelease {name} exists and is another release ({held}); releases never change",
            fix="choose another --name",
        )


def _held(target: stores.Store, parent: str) -> bool:
    return target.size(stores.manifest(parent)) is not None


def _expect_parents(uri: str, absent: Sequence[str]) -> None:
    if absent:
        raise NotFound(
            f"{uri} does not hold the parent {absent[0]}",
            fix="push a release into the store of its parents: it is verified together with them",
        )


def _objects(directory: Path, manifest: Manifest, key: Ed25519PrivateKey | None) -> Objects:
    """Everything that a release is in a store; the manifest after its files, as always."""
    objects: dict[Key, tuple[str, int, Callable[[], Iterator[bytes]]]] = {}
    for file in manifest.files:
        content_of = partial(digests.chunks, directory / file.path)
        objects[stores.blob(file.digest)] = (file.path, file.size, content_of)
    content = manifest.canonical()
    digest = manifest.digest
    objects[stores.manifest(digest)] = ("manifest", len(content), lambda: iter((content,)))
    if key:
        envelope = signing.sign(digest, key)
        objects[stores.signature(digest)] = ("signature", len(envelope), lambda: iter((envelope,)))
    return objects
