"""Whether a release is what its digest says, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from innervate_releases.errors import Part, ReleaseError
from innervate_releases.store import checked
from innervate_releases.transfer import blob_chunks, changed, read_manifest, read_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from innervate_releases.manifest import Manifest
    from innervate_releases.store import Store

MAX_ANCESTORS = 10_000
"""More would be an attack on whoever walks them."""


class Verified(NamedTuple):
    """A release whose every byte was read and found right."""

    digest: str
    manifest: Manifest
    key: str
    """Name of the trusted key that signed it."""


class Ancestor(NamedTuple):
    """A release among the parents, the parents' parents, and so on."""

    digest: str
    manifest: Manifest
    key: str


def verify(
    source: Store,
    digest: str,
    trusted: Mapping[str, Ed25519PublicKey],
    *,
    progress: Callable[[str, int], None] | None = None,
) -> Verified:
    """Read a release wholly: manifest, signature, ancestors, every file.

    Ancestors are their manifests and signatures; their files were verified when they
    were releases of their own, and may be gone.

    Raises
    ------
    ReleaseError
        The first thing that is wrong; its `part` and `subject` say whose bytes it is.
    """
    manifest = read_manifest(source, digest)
    key = read_signature(source, digest, trusted)
    ancestors(source, manifest, trusted)
    for file in manifest.files:
        content = checked(blob_chunks(source, file), digest=file.digest, size=file.size, wrong=changed(file))
        for chunk in content:
            if progress:
                progress(file.path, len(chunk))
    return Verified(digest, manifest, key)


def ancestors(
    source: Store, manifest: Manifest, trusted: Mapping[str, Ed25519PublicKey]
) -> dict[str, Ancestor]:
    """Read and check the manifests and signatures of all ancestors, each once, by digest."""
    found: dict[str, Ancestor] = {}
    waiting = list(manifest.parents)
    while waiting:
        digest = waiting.pop(0)
        if digest in found:
            continue
        if len(found) >= MAX_ANCESTORS:
            message = f"the release has more than {MAX_ANCESTORS} ancestors"
            raise ReleaseError(Part.PARENT, digest, message)
        try:
            parent = read_manifest(source, digest, part=Part.PARENT)
            key = read_signature(source, digest, trusted, part=Part.PARENT)
        except ReleaseError as error:
            if error.part is not Part.PARENT:
                raise
            message = f"parent {digest} of the release: {error}"
            raise ReleaseError(Part.PARENT, digest, message, missing=error.missing) from error
        found[digest] = Ancestor(digest, parent, key)
        waiting += parent.parents
    return found
