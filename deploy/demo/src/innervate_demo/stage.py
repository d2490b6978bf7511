"""Where the demonstration plays: a cluster with the project's images and chart."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from innervate_local import binaries, images, places
from innervate_local.cluster import DEFAULT_NAME, Cluster
from innervate_local.context import ContextCluster
from innervate_local.errors import LocalError
from innervate_local.images import archive
from innervate_local.progress import say, step

if TYPE_CHECKING:
    from innervate_local.places import Place

REGISTRY = "INNERVATE_REGISTRY"
"""Environment variable: where a cluster of yours pulls the images from."""
OTLP = "http://innervate-telemetry.innervate-observability.svc:4317"


def find() -> Place:
    """Find a cluster or make one, with images and chart; nothing happens where all is there."""
    choice = places.choose(DEFAULT_NAME)
    say(f"where: {choice.reason}")
    choice.place.up()
    _give_images(choice.place)
    os.environ["KUBECONFIG"] = str(choice.place.kubeconfig)
    os.environ["INNERVATE_KUBECTL"] = f"{binaries.path('kubernetes')} kubectl"
    os.environ["PATH"] += f":{binaries.path('helm').parent}"
    settings = []
    if isinstance(choice.place, Cluster):
        settings = ["--set", f"telemetry.otlpEndpoint={OTLP}"]
    if registry := os.environ.get(REGISTRY):
        settings += ["--set", f"image.registry={registry}"]
    innervate("install", *settings)
    return choice.place


def innervate(*arguments: str) -> None:
    """Run the `innervate` command as a person would.

    Raises
    ------
    LocalError
        When it fails; it has said why.
    """
    command = Path(sys.executable).with_name("innervate")
    say(f"$ innervate {' '.join(arguments)}")
    if subprocess.run([command, *arguments], check=False).returncode:
        raise LocalError(f"`innervate {arguments[0]}` failed")


def _give_images(place: Place) -> None:
    if isinstance(place, ContextCluster):
        if not os.environ.get(REGISTRY):
            say(
                f"images: set {REGISTRY} to the registry that has them, unless the cluster has them already; "
                "deploy/images has a Containerfile for each"
            )
        return
    built = images.build()
    with step("giving the nodes the images they lack"):
        if isinstance(place, Cluster):
            images.load(built, place.nodes)
            return
        with tempfile.TemporaryDirectory() as scratch:
            carried = Path(scratch) / "images.tar"
            archive.write(built, carried, without=frozenset())
            place.load(carried)
