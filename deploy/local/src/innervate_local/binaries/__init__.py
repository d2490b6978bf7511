"""The programs of the cluster, built from pinned sources and kept by version.

Each directory beside this file is a Go module with its ``go.sum``, or has a script
that builds the program of its name. A build goes to a temporary directory and is
renamed, under a lock, so two callers never see half of one; a second run finds it
and builds nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from innervate_local import packages, paths, toolchain
from innervate_local.errors import LocalError
from innervate_local.progress import step

if TYPE_CHECKING:
    from collections.abc import Iterator

KUBERNETES_VERSION = "1.34.4"
"""The last minor version that accepts cgroup v1 is 1.34."""

SCRIPT = "build.sh"
"""Builds a program that is not written in Go into the directory it is given, with all that belongs to it."""

_SOURCES = Path(__file__).parent
_KUBERNETES_STAMP = "k8s.io/component-base/version"


class Binary(NamedTuple):
    """One program to build."""

    version: str
    """Its upstream version: part of the cache path."""
    package: str = ""
    """What ``go build`` is asked for, seen from its module here; empty where `SCRIPT` builds it."""
    stamps: tuple[str, ...] = ()
    """``-X`` settings for the linker."""
    on_request: bool = False
    """Not every machine needs it: left out when everything is built."""


CATALOG: dict[str, Binary] = {
    "etcd": Binary("3.6.5", "."),
    "kubernetes": Binary(
        KUBERNETES_VERSION,
        ".",
        (
            f"{_KUBERNETES_STAMP}.gitVersion=v{KUBERNETES_VERSION}",
            f"{_KUBERNETES_STAMP}.gitMajor=1",
            f"{_KUBERNETES_STAMP}.gitMinor={KUBERNETES_VERSION.split('.')[1]}",
        ),
    ),
    "pause": Binary("1.0", "."),
    "coredns": Binary("1.12.4", "github.com/coredns/coredns"),
    "helm": Binary(
        "3.19.0",
        "helm.sh/helm/v3/cmd/helm",
        ("helm.sh/helm/v3/internal/version.version=v3.19.0",),
    ),
    "local-path-provisioner": Binary(
        "0.0.30", "github.com/rancher/local-path-provisioner", ("main.VERSION=v0.0.30",)
    ),
    "jaeger": Binary("1.62.0", "github.com/jaegertracing/jaeger/cmd/jaeger"),
    "llama-server": Binary("9754.0.0"),
    "kind": Binary("0.30.0", "sigs.k8s.io/kind", on_request=True),
    "versitygw": Binary("1.8.0", "github.com/versity/versitygw/cmd/versitygw", on_request=True),
    "registry": Binary("3.0.0", "github.com/distribution/distribution/v3/cmd/registry", on_request=True),
}
"""Every program, in the order in which ``build`` makes them: tests need the first two."""


def path(name: str) -> Path:
    """Give a program's path, building it first where it is missing.

    Parameters
    ----------
    name
        A name in `CATALOG`.

    Returns
    -------
    pathlib.Path
        ``<cache>/bin/<name>-<version>/<name>``.

    Raises
    ------
    LocalError
        When it cannot be built; the message ends with what the builder said.
    """
    target = location(name)
    recipe = _recipe(name)
    if _is_current(target, recipe):
        return target
    with _locked(target.parent.with_suffix(target.parent.suffix + ".lock")):
        if not _is_current(target, recipe):
            _build(name, target, recipe)
    return target


def files(name: str) -> list[Path]:
    """Give a program and what belongs to it, building it first where it is missing.

    Parameters
    ----------
    name
        A name in `CATALOG`.

    Raises
    ------
    LocalError
        As `path`.
    """
    program = path(name)
    return sorted(each for each in program.parent.iterdir() if each != _stamp(program))


def location(name: str) -> Path:
    """Give the path a program has or will have, without building it."""
    return paths.cache() / "bin" / f"{name}-{CATALOG[name].version}" / name


def is_built(name: str) -> bool:
    """Tell whether `path` would build nothing."""
    return _is_current(location(name), _recipe(name))


def _build(name: str, target: Path, recipe: str) -> None:
    binary = CATALOG[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        step(f"building {name} {binary.version} from its source"),
        tempfile.TemporaryDirectory(dir=target.parent) as scratch,
    ):
        directory = Path(scratch)
        if binary.package:
            go = toolchain.go()
            _run(name, _go(go, binary, directory / name), toolchain.environment(go))
        else:
            packages.ensure("g++")
            _run(name, [str(_SOURCES / name / SCRIPT), scratch], os.environ | {"PYTHON": sys.executable})
        # The program itself last: whoever finds it finds what belongs to it.
        for built in sorted(directory.iterdir(), key=lambda path: path.name == name):
            built.replace(target.parent / built.name)
        # And then this: without it the next call builds again, which Go's own cache makes quick.
        _stamp(target).write_text(recipe)


def _go(go: Path, binary: Binary, output: Path) -> list[str]:
    stamps = "".join(f" -X {stamp}" for stamp in binary.stamps)
    return [
        *(str(go), "build", "-p", str(min(os.cpu_count() or 1, 4))),
        *("-trimpath", "-ldflags", f"-s -w{stamps}", "-o", str(output), binary.package),
    ]


def _run(name: str, command: list[str], environment: dict[str, str]) -> None:
    finished = subprocess.run(
        ["nice", "-n", "10", *command],
        cwd=_SOURCES / name,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise LocalError(f"{name} could not be built:\n{_tail(finished.stdout)}")


def _recipe(name: str) -> str:
    """Digest all that decides the result, so that an edited recipe is built again."""
    binary = CATALOG[name]
    digest = hashlib.sha256(repr((binary.version, binary.package, binary.stamps)).encode())
    for source in sorted((_SOURCES / name).iterdir()):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _stamp(target: Path) -> Path:
    return target.parent / "recipe.sha256"


def _is_current(target: Path, recipe: str) -> bool:
    return target.is_file() and _stamp(target).is_file() and _stamp(target).read_text() == recipe


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _tail(output: str) -> str:
    return "\n".join(output.splitlines()[-20:])
