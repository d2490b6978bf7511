"""The directory where a pod keeps its certificate, for programs that read files.

``tls.crt``, ``tls.key`` and ``ca.crt`` are links through one link that is replaced at once, so that a
reader never meets a key beside another key's certificate for longer than it takes to open two files.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from innervate_service.tls import Certificate

_CURRENT = "..current"
_NAMES = ("tls.crt", "tls.key", "ca.crt")


def write(directory: Path, certificate: Certificate) -> None:
    """Replace the directory's certificate. Files are readable by their owner only.

    Raises
    ------
    OSError
        The directory cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    current = directory / _CURRENT
    # Left in place until the next time: a reader may have followed the link and not opened the file yet.
    before = current.readlink().name if current.is_symlink() else ""
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    for name, content in zip(
        _NAMES, (certificate.chain, certificate.key, certificate.authorities), strict=True
    ):
        descriptor = os.open(fresh / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    _link(current, fresh.name)
    for name in _NAMES:
        if not (directory / name).is_symlink():
            _link(directory / name, f"{_CURRENT}/{name}")
    for entry in list(os.scandir(directory)):
        # Older ones, and what a crash may have left half written.
        old = entry.name.startswith("..") and entry.name not in {fresh.name, before}
        if old and entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)


def read(directory: Path) -> Certificate | None:
    """The directory's certificate, None where there is none (yet).

    A container that restarts finds it again and needs no authority to start.
    """
    try:
        chain, key, authorities = ((directory / name).read_bytes() for name in _NAMES)
        certificate = Certificate(chain=chain, key=key, authorities=authorities)
        private = serialization.load_pem_private_key(key, password=None)
        if private.public_key() != certificate.leaf.public_key():
            return None
    except (OSError, ValueError, TypeError):
        return None
    return certificate


def _link(path: Path, target: str) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
