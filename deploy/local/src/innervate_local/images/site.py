"""Python packages for the images: the locked dependencies, and our own source on top of them."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING, NamedTuple

from innervate_local.errors import LocalError
from innervate_local.images import native, rootfs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TARGET = "/opt/innervate/site"
"""Where the packages lie in an image."""
_DROPPED = ("tests", "bin", ".lock")
"""Names left out of the dependencies: as in the Containerfiles."""
_COMPILES = sys.version_info[:2] == rootfs.PYTHON
"""Compiled files of another minor version would be of no use in the image."""


class Locked(NamedTuple):
    """What a workspace package needs, as the lock file has it."""

    requirements: tuple[str, ...]
    """Third-party packages with version, marker and hashes, sorted."""
    members: tuple[Path, ...]
    """Directories of the workspace packages, its own included."""


def locked(workspace: Path, package: str) -> Locked:
    """Read from the lock file what a workspace package needs.

    Parameters
    ----------
    workspace
        The directory of ``uv.lock``.
    package
        The package's distribution name.
    """
    exported = _uv(
        workspace,
        "export",
        "--frozen",
        "--quiet",
        "--no-dev",
        "--no-header",
        "--no-annotate",
        f"--package={package}",
    )
    lines = re.sub(r"\\\n\s*", " ", exported).splitlines()
    members = (workspace / line.removeprefix("-e ") for line in lines if line.startswith("-e "))
    return Locked(
        tuple(sorted(line for line in lines if line and not line.startswith("-e "))), tuple(sorted(members))
    )


def compiler(members: Iterable[Path]) -> str | None:
    """Say what compiles modules of these packages to machine code; None where nothing is to be, or can be.

    Parameters
    ----------
    members
        Directories of workspace packages.
    """
    return native.tools() if _COMPILES and any(native.modules(member) for member in members) else None


def recipe(requirements: Iterable[str]) -> str:
    """Digest what decides the content of a layer of dependencies."""
    facts = (tuple(requirements), platform.machine(), rootfs.PYTHON, _COMPILES, _DROPPED)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def install(workspace: Path, requirements: Iterable[str], directory: Path) -> None:
    """Install locked third-party packages, for the Python of the images, into a directory.

    Parameters
    ----------
    workspace
        The directory of ``uv.lock``.
    requirements
        Lines of `Locked.requirements`.
    directory
        Where they go; made if missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    listing = directory / "requirements.txt"
    listing.write_text("\n".join(requirements))
    _uv(
        workspace,
        *("pip", "install", "--quiet", "--python", sys.executable, "--target", str(directory)),
        *("--python-version", ".".join(map(str, rootfs.PYTHON))),
        # The C library of the release, so that no wheel for a newer one is taken.
        *("--python-platform", f"{platform.machine()}-manylinux_2_36"),
        *("--only-binary", ":all:", "--no-deps", "--require-hashes", "--requirements", str(listing)),
    )
    listing.unlink()
    for path in [path for path in directory.rglob("*") if path.name in _DROPPED]:
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
    _compile(directory)


def sources(members: Iterable[Path]) -> list[tuple[Path, str]]:
    """List the files of workspace packages with their places below a site directory.

    Parameters
    ----------
    members
        Directories of workspace packages.

    Returns
    -------
    list of (pathlib.Path, str)
        File and relative place, sorted by place.
    """
    found = []
    for member in members:
        project = tomllib.loads((member / "pyproject.toml").read_text())
        for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
            top = member / package
            found += [
                (path, str(path.relative_to(top.parent)))
                for path in top.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            ]
    return sorted(found, key=lambda pair: pair[1])


def place(members: Sequence[Path], directory: Path) -> None:
    """Put workspace packages into a directory as an installation would.

    Parameters
    ----------
    members
        Directories of workspace packages.
    directory
        Where they go; made if missing.

    Raises
    ------
    LocalError
        When modules that are to be compiled are refused by the compiler.
    """
    for source, name in sources(members):
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for member in members:
        project = tomllib.loads((member / "pyproject.toml").read_text())["project"]
        # What importlib.metadata answers from when a package asks for its own version.
        info = directory / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir(parents=True)
        fields = {"Metadata-Version": "2.4", "Name": project["name"], "Version": project["version"]}
        (info / "METADATA").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    if compiler(members):
        try:
            for member in members:
                if names := native.modules(member):
                    native.compile_modules(names, directory)
        except RuntimeError as error:
            raise LocalError(str(error)) from error
    _compile(directory)


def _compile(directory: Path) -> None:
    if not _COMPILES:
        return
    # One process of its own: what a compiled file looks like depends a little on what
    # the same interpreter compiled or held before.
    subprocess.run(
        [
            *(sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"),
            # Tracebacks and digests must not name the directory that this was made in.
            *("-s", str(directory), "-p", TARGET, str(directory)),
        ],
        stdout=subprocess.DEVNULL,
        # Packages carry files for other versions of Python; those stay as they are.
        check=False,
    )


def _uv(workspace: Path, *arguments: str) -> str:
    finished = subprocess.run(
        [str(workspace / "scripts" / "uv"), *arguments],
        cwd=workspace,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise LocalError(f"uv {arguments[0]} failed:\n{finished.stderr.strip()}")
    return finished.stdout
