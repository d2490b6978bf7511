"""The library ``verifiers`` in an environment of its own, with what a server of environments needs beside it.

It is large, and nothing of ours depends on it: what is served by it comes in images of users.
"""

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from innervate_environments.local import LocalServer
from innervate_local import paths

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_UV = str(_ROOT / "scripts" / "uv")
_PACKAGES = _HERE / "verifiers_packages.txt"
"""The library and all that it needs and we do not have, with versions that go with ours."""
_EXPORT = ("export", "--frozen", "--quiet", "--no-dev", "--no-header", "--no-annotate", "--no-hashes")
_SOURCES = ("proto", "services/common/src", "services/environments/src", "tests/equipment")


def interpreter() -> Path:
    """Python with the library; installed into the cache when it is first needed."""
    ours = subprocess.run(
        [_UV, *_EXPORT, "--package=innervate-environments", "--no-emit-workspace"],
        cwd=_ROOT,
        check=True,
        capture_output=True,
    ).stdout
    wanted = hashlib.sha256(ours + _PACKAGES.read_bytes()).hexdigest()[:16]
    home = paths.cache() / "tests" / f"verifiers-{wanted}"
    python, mark = home / "venv" / "bin" / "python", home / "installed"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            (home / "ours.txt").write_bytes(ours)
            files = [f"--requirements={path}" for path in (home / "ours.txt", _PACKAGES)]
            subprocess.run([_UV, "venv", "--quiet", "--clear", str(home / "venv")], check=True)
            subprocess.run(
                [_UV, "pip", "install", "--quiet", "--no-deps", f"--python={python}", *files], check=True
            )
            mark.touch()
    return python


def path() -> str:
    """Where that Python finds our own packages and `practice_verifiers`."""
    return os.pathsep.join(str(_ROOT / source) for source in _SOURCES)


@contextmanager
def package_server(python: Path, kind: str, **settings: Any) -> Iterator[LocalServer]:
    """Serve an environment of `practice_verifiers`."""
    source = {"gymnasium": {"id": "verifiers:practice-verifiers", "options": {"kind": f'"{kind}"'}}}
    server = LocalServer({"source": source, "capacity": 4, "stepSeconds": 60} | settings, python=python)
    with patch.dict(os.environ, {"PYTHONPATH": path()}):
        server.start()
    with server:
        yield server
