"""A containerd root that already has the images: what a new node starts from.

Importing the images takes a node longer than everything else of its start. It is
done once, by a containerd of its own, and kept; each new node gets a copy made of
hard links. That is safe because no program writes into a layer: a node changes
files of a layer in a layer of its own, and its databases are copied.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import containerd, process
from innervate_local.images import archive, store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from innervate_local.images.archive import Image

_WORTH = 32 << 20
"""A layer below this size, in bytes, is imported in a moment: source, and most dependencies."""
_BLOBS = "io.containerd.content.v1.content/blobs/sha256"


def seed(root: Path) -> None:
    """Put the kept images into the root of a node's containerd that has not run yet.

    Nothing happens when none are kept, or when links cannot be made to where they are:
    the node then imports them.

    Parameters
    ----------
    root
        The directory to make.
    """
    with store.locked("root"):
        kept = _kept()
        if not kept.is_dir() or _device(kept) != _device(root.parent):
            return
        subprocess.run(["cp", "--archive", "--link", str(kept), str(root)], check=True)
        for database in root.rglob("*.db"):
            original = kept / database.relative_to(root)
            database.unlink()
            shutil.copy2(original, database)


def keep(images: Iterable[Image]) -> None:
    """Make and keep a root that has these images, if the kept one lacks a large layer of them.

    Parameters
    ----------
    images
        What `innervate_local.images.build` gave.

    Raises
    ------
    LocalError
        When containerd does not start or refuses them.
    """
    images = tuple(images)
    with store.locked("root"):
        stamp = _kept().with_suffix(".json")
        wanted = _contents(images)
        if _kept().is_dir() and stamp.is_file() and wanted <= set(json.loads(stamp.read_text())):
            return
        stamp.unlink(missing_ok=True)
        if _kept().is_dir():
            shutil.rmtree(_kept())
        with tempfile.TemporaryDirectory(dir=store.directory()) as scratch:
            made = Path(scratch) / "root"
            _import(images, made)
            _share_blobs(made / _BLOBS)
            made.rename(_kept())
        stamp.write_text(json.dumps(sorted(wanted)))


def _kept() -> Path:
    return store.directory() / "root"


def _contents(images: Iterable[Image]) -> set[str]:
    """List what a root with these images is made of: who made it, and layers by digest."""
    version = subprocess.run(["containerd", "--version"], capture_output=True, text=True, check=True).stdout
    return {version, *(blob.digest for image in images for blob in image.layers if blob.size >= _WORTH)}


def _import(images: Iterable[Image], root: Path) -> None:
    # A socket's path may be far shorter than a cache's.
    with tempfile.TemporaryDirectory(prefix="innervate-") as short:
        run_directory = Path(short)
        socket = run_directory / "containerd.sock"
        settings = run_directory / "containerd.toml"
        settings.write_text(
            containerd.configuration(
                root=root,
                state=run_directory / "state",
                socket=socket,
                networks=run_directory / "networks",
                plugins=containerd.plugin_directory(),
            )
        )
        command = ["containerd", "--config", str(settings), "--log-level", "warn"]
        daemon = process.start(command, log=root.parent / "containerd.log", dies_with_parent=True)
        try:
            containerd.await_ready(socket)
            carried = root.parent / "images.tar"
            archive.write(images, carried)
            containerd.load(socket, carried)
        finally:
            daemon.terminate()
            daemon.wait()


def _share_blobs(directory: Path) -> None:
    """Replace blobs by links to the cache's own, which are the same bytes."""
    for file in directory.iterdir():
        cached = store.path(f"sha256:{file.name}")
        if cached.is_file():
            file.unlink()
            os.link(cached, file)


def _device(path: Path) -> int:
    return path.stat().st_dev
