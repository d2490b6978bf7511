"""Compiles modules to machine code with mypyc, where there is what that takes.

A package names them in its ``pyproject.toml`` (``[tool.innervate] compiled``). Their source stays beside
them: it is what runs where nothing was compiled, and what tests import. The Containerfiles run this file by
itself, so it imports nothing but the standard library.

Usage: ``python3 native.py MEMBER SITE``
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

GLIBC = (2, 36)
"""The C library of the images; what was linked against a newer one might not start there."""
_COMPILER = "gcc"
_FLAGS = {
    # Nothing of this machine gets into the result: neither its debug symbols nor where its Python lies.
    "CC": _COMPILER,
    "LDSHARED": f"{_COMPILER} -shared -s",
    "MYPYC_DEBUG_LEVEL": "0",
    "PYTHONHASHSEED": "0",
}
_SETTINGS = """
[mypy]
cache_dir = /dev/null
# Types of what is not compiled would not make it faster, and reading them takes a minute.
follow_imports = skip
ignore_missing_imports = True
# Nothing is known of such a base, and a compiled class that has one breaks when it is used.
disallow_subclassing_any = True
"""


def modules(member: Path) -> list[str]:
    """Give the modules of a workspace package that are to be compiled.

    Parameters
    ----------
    member
        The directory of its ``pyproject.toml``.
    """
    project = tomllib.loads((member / "pyproject.toml").read_text())
    named: list[str] = project["tool"].get("innervate", {}).get("compiled", [])
    return named


def tools() -> str | None:
    """Say what compiles; None where something is missing, and source it stays."""
    compiler = shutil.which(_COMPILER)
    lacking = [name for name in ("mypyc", "setuptools") if importlib.util.find_spec(name) is None]
    header = Path(sysconfig.get_path("include")) / "Python.h"
    if compiler is None or lacking or not header.is_file() or _glibc() > GLIBC:
        return None
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    return f"{version.splitlines()[0]}, mypy {importlib.metadata.version('mypy')}"


def compile_modules(names: list[str], site: Path) -> None:
    """Put compiled modules beside their source.

    Parameters
    ----------
    names
        Dotted; all of one package.
    site
        The directory that holds the package.

    Raises
    ------
    RuntimeError
        The compiler refuses them; the message ends with what it said.
    """
    package = names[0].partition(".")[0]
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(site / package, Path(scratch) / package)
        (Path(scratch) / "settings").write_text(_SETTINGS)
        files = [f"{name.replace('.', '/')}.py" for name in names]
        finished = subprocess.run(
            [sys.executable, "-m", "mypyc", "--config-file", "settings", *files],
            cwd=scratch,
            env={**os.environ, **_FLAGS},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        # One library holds the code of all, and each module has one that leads there.
        made = [*Path(scratch).glob("*.so"), *(Path(scratch) / package).rglob("*.so")]
        if finished.returncode != 0 or len(made) != len(names) + 1:
            said = "\n".join(finished.stdout.splitlines()[-20:])
            raise RuntimeError(f"mypyc could not compile {package}:\n{said}")
        for file in made:
            shutil.copyfile(file, site / file.relative_to(scratch))


def _glibc() -> tuple[int, ...]:
    name = os.confstr("CS_GNU_LIBC_VERSION") or "glibc 999"
    return tuple(int(part) for part in name.split()[1].split("."))


if __name__ == "__main__":
    compile_modules(modules(Path(sys.argv[1])), Path(sys.argv[2]))
