"""The project's images, built without a container engine.

Layers, the lowest first: the distribution's root file system, the dependencies
that all services share, those of the one service, its source. Each is cached by
what it is made of, so a changed source line makes one small layer again. The
Containerfiles in ``deploy/images`` say the rest and build the same elsewhere.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_local import binaries
from innervate_local.errors import LocalError
from innervate_local.images import archive, containerfile, layer, loading, rootfs, roots, site, store
from innervate_local.progress import step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import BinaryIO

    from innervate_local.images.archive import Image
    from innervate_local.node import Node

VERSION = "0.1.0"
"""The tag of every image: the version of the release."""
SHARED = "innervate-service"
"""The package whose dependencies every service's image has."""
BASE = f"innervate/base:{VERSION}"
"""The root file system alone, for pods of the local cluster that need a shell or run a mounted program."""


class Service(NamedTuple):
    """What an image is made of beside its Containerfile."""

    package: str | None = None
    """The workspace package it runs."""
    shares: bool = True
    """Whether that package needs all that `SHARED` needs."""
    packages: tuple[str, ...] = ()
    """Debian packages on top of the base."""
    program: str | None = None
    """A program of `innervate_local.binaries` that it runs."""


SERVICES = {
    "operator": Service(package="innervate-operator"),
    "memory": Service(package="innervate-memory"),
    "gateway": Service(package="innervate-gateway"),
    "evaluator": Service(package="innervate-evaluator"),
    "releases": Service(package="innervate-releases", shares=False),
    "learner": Service(package="innervate-learner", shares=False),
    "environments": Service(package="innervate-environments"),
    "rl": Service(package="innervate-rl"),
    "identity-agent": Service(package="innervate-service"),
    "client": Service(package="innervate", shares=False),
    "redis": Service(packages=("redis-server",)),
    "llama-cpp": Service(program="llama-server"),
}
"""The images, each with a Containerfile in ``deploy/images/<name>``."""


def workspace() -> Path:
    """Give the checkout that this package runs from: images are made of its lock file and source."""
    found = next((path for path in Path(__file__).parents if (path / "uv.lock").is_file()), None)
    if found is None:
        raise LocalError(
            "images are built from a checkout of the project; this installation has none around it"
        )
    return found


def build(names: Iterable[str] = tuple(SERVICES)) -> list[Image]:
    """Build images into the cache; what is there already is not made again.

    Parameters
    ----------
    names
        Keys of `SERVICES`.

    Returns
    -------
    list of Image
        The base and the named images, ready for `archive.write`.

    Raises
    ------
    LocalError
        When a part cannot be made.
    """
    root = workspace()
    with store.locked("layers"):
        base = _base_layer()
        built = [archive.image(BASE, {"Env": [], "Cmd": ["/bin/sh"]}, [base])]
        built += [_service(root, name, base) for name in names]
        store.prune()
    return built


def load(images: Sequence[Image], nodes: Sequence[Node]) -> None:
    """Give nodes the images they lack, and keep them for nodes that start later.

    Parameters
    ----------
    images
        What `build` gave.
    nodes
        Nodes whose containerd runs.

    Raises
    ------
    LocalError
        When one refuses them.
    """
    loading.load(images, nodes)
    roots.keep(images)


def _service(root: Path, name: str, base: store.Blob) -> Image:
    service = SERVICES[name]
    stage = containerfile.last_stage(root / "deploy" / "images" / name / "Containerfile")
    layers = [base]
    if service.packages:
        layers.append(_packages_layer(service.packages, base))
    layers += [_copied_layer(root, copy) for copy in stage.copies if copy.stage is None]
    if service.program:
        (target,) = (copy.target for copy in stage.copies if copy.stage)
        layers.append(_program_layer(service.program, target))
    if service.package:
        layers += _site_layers(root, service.package, shares=service.shares)
    return archive.image(f"innervate/{name}:{VERSION}", stage.config, layers)


def _base_layer() -> store.Blob:
    return _layer(
        rootfs.recipe(rootfs.BASE),
        "making the base image from Debian packages",
        lambda output: _write_rootfs(rootfs.BASE, output),
    )


def _packages_layer(packages: tuple[str, ...], base: store.Blob) -> store.Blob:
    wanted = (*rootfs.BASE, *packages)
    return _layer(
        hashlib.sha256(f"{rootfs.recipe(wanted)} on {base.digest}".encode()).hexdigest(),
        f"making an image layer of {' '.join(packages)}",
        lambda output: _write_rootfs(wanted, output, below=store.path(base.digest)),
    )


def _write_rootfs(packages: tuple[str, ...], output: BinaryIO, *, below: Path | None = None) -> None:
    with tempfile.TemporaryDirectory(dir=store.directory()) as scratch:
        made = Path(scratch) / "rootfs.tar"
        rootfs.make(packages, made)
        layer.from_archive(made, output, below=below)


def _copied_layer(root: Path, copy: containerfile.Copy) -> store.Blob:
    return _small_layer([(root / copy.source, copy.target)])


def _program_layer(program: str, target: str) -> store.Blob:
    return _small_layer([(file, f"{target}/{file.name}") for file in binaries.files(program)])


def _small_layer(trees: Iterable[tuple[Path, str]]) -> store.Blob:
    with tempfile.TemporaryFile() as output:
        layer.from_trees(trees, output)
        output.seek(0)
        return store.put(output.read())


def _site_layers(root: Path, package: str, *, shares: bool) -> list[store.Blob]:
    shared = site.locked(root, SHARED).requirements if shares else ()
    needed = site.locked(root, package)
    own = tuple(line for line in needed.requirements if line not in shared)
    layers = [_dependencies_layer(root, lines) for lines in (shared, own) if lines]
    return [*layers, _source_layer(needed.members)]


def _dependencies_layer(root: Path, requirements: tuple[str, ...]) -> store.Blob:
    def make(output: BinaryIO) -> None:
        with tempfile.TemporaryDirectory(dir=store.directory()) as scratch:
            site.install(root, requirements, Path(scratch))
            layer.from_trees([(Path(scratch), site.TARGET)], output)

    title = f"installing {len(requirements)} locked Python packages into an image layer"
    return _layer(site.recipe(requirements), title, make)


def _source_layer(members: tuple[Path, ...]) -> store.Blob:
    compiler = site.compiler(members)
    content = hashlib.sha256(f"{site.recipe(())} {compiler}".encode())
    for member in members:
        content.update((member / "pyproject.toml").read_bytes())
    for source, name in site.sources(members):
        content.update(f"{name}\0{source.stat().st_size}\0".encode() + source.read_bytes())

    def make(output: BinaryIO) -> None:
        with tempfile.TemporaryDirectory(dir=store.directory()) as scratch:
            site.place(members, Path(scratch))
            layer.from_trees([(Path(scratch), site.TARGET)], output)

    if compiler:
        return _layer(content.hexdigest(), f"compiling modules of {members[-1].name} for an image", make)
    return store.made(content.hexdigest(), make)


def _layer(recipe: str, title: str, make: Callable[[BinaryIO], None]) -> store.Blob:
    def show(output: BinaryIO) -> None:
        with step(title):
            make(output)

    return store.made(recipe, show)
