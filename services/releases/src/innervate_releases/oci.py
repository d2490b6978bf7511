"""A store in a container registry.

A release is an OCI artifact: its configuration is our manifest, its layers are
the files, so that the registry keeps them together; its tag is ``sha256-<hex>``
of our manifest. The signature is an artifact of its own that has the release as
subject (which registries of version 1.1 list as a referrer), with the tag
``sha256-<hex>.sig``.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_releases import digests
from innervate_releases.errors import NotFoundError, ReleaseError, StoreError
from innervate_releases.manifest import MAX_BYTES, parse
from innervate_releases.registry import IMAGE_MANIFEST, Registry
from innervate_releases.store import MAX_ENVELOPE, Folder, Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from innervate_releases.location import Location

RELEASE_TYPE = "application/vnd.innervate.release.v1"
MANIFEST_TYPE = "application/vnd.innervate.release.manifest.v1+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
LOGINS = "INNERVATE_REGISTRY_LOGINS"
"""Environment variable with the content of a ``kubernetes.io/dockerconfigjson`` Secret."""
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"


class _Held(NamedTuple):
    digest: str
    size: int


class RegistryStore:
    """A release is one artifact of a repository, its signature another."""

    def __init__(self, uri: str, registry: Registry) -> None:
        self._uri = uri
        self._registry = registry

    @classmethod
    def open(cls, uri: str, location: Location, environment: Mapping[str, str]) -> RegistryStore:
        """Open a repository, with the login that Docker's ``config.json`` has for its registry.

        Raises
        ------
        StoreError
            The file cannot be read.
        """
        login = _login(uri, location.host, environment)
        return cls(uri, Registry(uri, location.host, location.path, login))

    @property
    def uri(self) -> str:
        """Where it is, for messages."""
        return self._uri

    def size(self, key: Key) -> int | None:
        """Bytes held under a key; None where there is nothing."""
        if key.folder is Folder.BLOBS:
            return self._registry.blob_size(key.digest)
        # A blob that no artifact holds may be collected at any time: it is not there yet.
        held = self._held(key)
        return held.size if held else None

    def read(self, key: Key, offset: int = 0) -> Iterator[bytes]:
        """Give the bytes under a key, from an offset on, in pieces."""
        held = _Held(key.digest, 0) if key.folder is Folder.BLOBS else self._held(key)
        try:
            if held is None:
                raise FileNotFoundError(key.digest)
            yield from self._registry.blob(held.digest, offset)
        except FileNotFoundError:
            message = f"{key.part.lower()} {key.digest} is not in {self._uri}"
            raise NotFoundError(key.part, key.digest, message) from None

    def write(self, key: Key, content: Iterable[bytes], size: int) -> None:
        """Put bytes under a key: wholly or not at all, replacing what was there."""
        if key.folder is Folder.BLOBS:
            self._registry.put_blob(key.digest, content, size)
        elif key.folder is Folder.MANIFESTS:
            self._write_manifest(key.digest, b"".join(content))
        else:
            self._write_signature(key.digest, b"".join(content))

    def _write_manifest(self, digest: str, content: bytes) -> None:
        release = parse(content, digest)
        self._registry.put_blob(digest, (content,), len(content))
        layers = {
            file.digest: {
                **_descriptor(file.media_type, file.digest, file.size),
                "annotations": {"org.opencontainers.image.title": file.path},
            }
            for file in release.files
            # An ancestor's files may be elsewhere: its manifest is held without them.
            if self._registry.blob_size(file.digest) is not None
        }
        self._registry.put_manifest(
            _tag(digest),
            _artifact(RELEASE_TYPE, _descriptor(MANIFEST_TYPE, digest, len(content)), list(layers.values())),
        )

    def _write_signature(self, digest: str, content: bytes) -> None:
        subject = self._registry.manifest(_tag(digest))
        if subject is None:
            message = f"manifest {digest} is not in {self._uri}; put it there before its signature"
            raise StoreError(self._uri, message)
        for blob in (_EMPTY, content):
            self._registry.put_blob(digests.of_bytes(blob), (blob,), len(blob))
        artifact = _artifact(
            ENVELOPE_TYPE,
            _descriptor(_EMPTY_TYPE, digests.of_bytes(_EMPTY), len(_EMPTY)),
            [_descriptor(ENVELOPE_TYPE, digests.of_bytes(content), len(content))],
        )
        artifact["subject"] = _descriptor(IMAGE_MANIFEST, digests.of_bytes(subject), len(subject))
        self._registry.put_manifest(f"{_tag(digest)}.sig", artifact)

    def _held(self, key: Key) -> _Held | None:
        """Where a manifest's or signature's bytes are; None where its artifact is not there."""
        of_signature = key.folder is Folder.SIGNATURES
        tag = f"{_tag(key.digest)}.sig" if of_signature else _tag(key.digest)
        content = self._registry.manifest(tag)
        if content is None:
            return None
        limit = MAX_ENVELOPE if of_signature else MAX_BYTES
        try:
            artifact = json.loads(content)
            held = artifact["layers"][0] if of_signature else artifact["config"]
            found = _Held(str(held["digest"]), int(held["size"]))
        except (ValueError, LookupError, TypeError) as error:
            raise ReleaseError(key.part, key.digest, f"{self._uri}:{tag} is no artifact of ours") from error
        if found.size > limit:
            raise ReleaseError(key.part, key.digest, f"{self._uri}:{tag} is larger than {limit} bytes")
        return found


def _tag(digest: str) -> str:
    return digest.replace(":", "-")


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _artifact(kind: str, config: Mapping[str, object], layers: list[dict[str, object]]) -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": kind,
        "config": config,
        "layers": layers,
    }


def _login(uri: str, host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The login for a registry in Docker's configuration; credential helpers are not asked."""
    directory = environment.get("DOCKER_CONFIG") or Path(environment.get("HOME", "/")) / ".docker"
    path = f"${LOGINS}" if LOGINS in environment else Path(directory) / "config.json"
    try:
        content = environment[LOGINS] if isinstance(path, str) else path.read_text(encoding="utf-8")
        entry = json.loads(content).get("auths", {}).get(host, {})
        if entry.get("username"):
            return entry["username"], entry.get("password", "")
        if not entry.get("auth"):
            return None
        name, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError, binascii.Error) as error:
        raise StoreError(uri, f"{path} cannot be read as Docker's configuration: {error}") from error
    return name, password
