"""Give nodes the images they lack, and of those only the layers they lack."""

from __future__ import annotations

import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local.errors import LocalError
from innervate_local.images import archive, store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_local.images.archive import Image
    from innervate_local.node import Node


def load(images: Sequence[Image], nodes: Sequence[Node]) -> None:
    """Import images into nodes; a node that has one of the same content is left alone.

    Parameters
    ----------
    images
        What `innervate_local.images.build` gave.
    nodes
        Nodes whose containerd runs.

    Raises
    ------
    LocalError
        When a node refuses an archive.
    """
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        list(pool.map(lambda node: _load(images, node), nodes))


def lacking(images: Sequence[Image], listing: str) -> list[Image]:
    """Choose the images that a node does not have.

    Parameters
    ----------
    images
        What it should have.
    listing
        What ``ctr images list`` printed there.
    """
    columns = [line.split() for line in listing.splitlines()[1:]]
    present = {(row[0], row[2]) for row in columns}
    return [image for image in images if (image.name, image.manifest.digest) not in present]


def _load(images: Sequence[Image], node: Node) -> None:
    wanted = lacking(images, _ctr(node, "images", "list"))
    if not wanted:
        return
    known = frozenset(_ctr(node, "content", "list", "--quiet").split())
    with tempfile.TemporaryDirectory(dir=store.directory()) as scratch:
        carried = Path(scratch) / "images.tar"
        archive.write(wanted, carried, without=known)
        node.load(carried)


def _ctr(node: Node, *arguments: str) -> str:
    command = ["ctr", "--address", str(node.containerd_socket), "--namespace", "k8s.io", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise LocalError(f"containerd of node {node.name}: {finished.stderr.strip()}")
    return finished.stdout
