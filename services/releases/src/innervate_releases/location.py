"""From a URI to a store.

====================== ==========================================================
``pvc://claim/path``   a volume, mounted in pods at ``MOUNTS/<claim>``
``s3://bucket/prefix`` S3 and what speaks like it; settings from ``AWS_*``
``oci://host/repo``    a container registry; credentials from Docker's ``config.json``
``hf://org/repo``      a model hub, for reading; token from ``HF_TOKEN``
``file:///path``       a directory, for tools
====================== ==========================================================
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from innervate_releases.directory import DirectoryStore
from innervate_releases.errors import StoreError

if TYPE_CHECKING:
    from innervate_releases.store import Store

MOUNTS = Path("/var/lib/innervate/releases")
"""Where a pod mounts each claim, under the claim's name."""

AUTHORITIES = "INNERVATE_STORE_AUTHORITIES"
"""Environment variable with certificates in PEM: authorities to trust instead of the system's."""
_FILE = "SSL_CERT_FILE"

_FORM = re.compile(r"^(pvc|s3|oci|hf|file)://[A-Za-z0-9._:@%/+-]*$")


class Location(NamedTuple):
    """A URI, taken apart."""

    scheme: str
    """``pvc``, ``s3``, ``oci``, ``hf`` or ``file``."""
    host: str
    """Claim, bucket, registry or organisation; empty for a file."""
    path: str
    """What follows, without slashes at its ends; absolute for a file."""


def parse(uri: str) -> Location:
    """Take a URI apart.

    Raises
    ------
    StoreError
        It is none of the forms above; the message says what is wrong.
    """
    forms = (
        "pvc://claim[/path], s3://bucket[/prefix], oci://registry/repository, "
        "hf://organisation/name[@revision] or file:///path"
    )
    if not _FORM.match(uri):
        raise StoreError(uri, f"{uri!r} is no address of a release store; it is {forms}")
    parts = urlsplit(uri)
    path = unquote(parts.path)
    if any(segment in {".", ".."} for segment in path.split("/")):
        raise StoreError(uri, f"{uri!r} must not contain '.' or '..' as a path's segment")
    if parts.scheme == "file":
        if parts.netloc or not path.strip("/"):
            raise StoreError(uri, f"{uri!r} must name a directory as file:///path")
        return Location("file", "", path)
    if not parts.netloc or (parts.scheme in {"oci", "hf"} and not path.strip("/")):
        raise StoreError(uri, f"{uri!r} is incomplete; it is {forms}")
    return Location(parts.scheme, parts.netloc, path.strip("/"))


def open_store(uri: str, *, mounts: Path = MOUNTS) -> Store:
    """Open the store of a URI.

    Parameters
    ----------
    uri
        One of the forms above.
    mounts
        Where claims are mounted.

    Raises
    ------
    StoreError
        The URI is wrong, or the claim is not mounted here.
    """
    location = parse(uri)
    if location.scheme == "file":
        return DirectoryStore(Path(location.path), uri)
    if location.scheme == "pvc":
        mount = mounts / location.host
        if not mount.is_dir():
            message = f"claim {location.host!r} is not mounted at {mount}; only a pod that mounts it has it"
            raise StoreError(uri, message)
        return DirectoryStore(mount / location.path if location.path else mount, uri)
    _trust_authorities()
    if location.scheme == "s3":
        # Loaded where it is used: it is the largest part of this package.
        from innervate_releases.s3 import S3Store  # noqa: PLC0415

        return S3Store.open(uri, location, os.environ)
    if location.scheme == "hf":
        from innervate_releases.hub import HubStore  # noqa: PLC0415  as above

        return HubStore.open(uri, location, os.environ)
    from innervate_releases.oci import RegistryStore  # noqa: PLC0415  as above

    return RegistryStore.open(uri, location, os.environ)


def _trust_authorities() -> None:
    """Let every TLS library find the authorities: in a file, in memory, that this variable names."""
    certificates = os.environ.get(AUTHORITIES)
    if certificates and not os.environ.get(_FILE):
        file = os.memfd_create("authorities")  # a container has no place to write to
        os.write(file, certificates.encode())
        os.environ[_FILE] = f"/proc/self/fd/{file}"
