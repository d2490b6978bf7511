"""Programs are built once, whoever asks, and again when their recipe changes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from innervate_local import binaries
from innervate_local.errors import LocalError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.contract

# The smallest of the programs; Go's own cache is shared, so that a build takes no time.
NAME = "pause"
BUILD = f"from innervate_local import binaries; print(binaries.path({NAME!r}))"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Go's own caches stay where they are.
    for variable in ("GOCACHE", "GOMODCACHE"):
        value = subprocess.run(["go", "env", variable], capture_output=True, text=True, check=False).stdout
        monkeypatch.setenv(variable, value.strip() or str(tmp_path / variable))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_a_second_request_builds_nothing(cache: Path) -> None:
    assert not binaries.is_built(NAME)
    built = binaries.path(NAME)
    assert built == cache / "innervate" / "bin" / f"{NAME}-{binaries.CATALOG[NAME].version}" / NAME
    before = built.stat()
    assert binaries.is_built(NAME)
    assert binaries.path(NAME).stat() == before
    # Nothing but the program and its recipe's digest is left.
    assert sorted(each.name for each in built.parent.iterdir()) == [NAME, "recipe.sha256"]


def test_concurrent_requests_build_once() -> None:
    asking = [
        subprocess.Popen(
            [sys.executable, "-c", BUILD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    answers = [each.communicate() for each in asking]
    assert {answer.strip() for answer, _ in answers} == {str(binaries.location(NAME))}
    assert sum("done in" in said for _, said in answers) == 1


def test_an_edited_recipe_is_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = binaries.path(NAME).stat().st_ino
    edited = binaries.CATALOG[NAME]._replace(stamps=("main.edited=yes",))
    monkeypatch.setitem(binaries.CATALOG, NAME, edited)
    assert not binaries.is_built(NAME)
    assert binaries.path(NAME).stat().st_ino != before


def test_a_script_builds_a_program_with_what_belongs_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = tmp_path / "sources" / "tool" / binaries.SCRIPT
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\nset -eu\necho tool >"$1/tool"\necho library >"$1/library.so"\n')
    script.chmod(0o755)
    monkeypatch.setattr(binaries, "_SOURCES", tmp_path / "sources")
    monkeypatch.setitem(binaries.CATALOG, "tool", binaries.Binary("1.0"))
    assert [each.name for each in binaries.files("tool")] == ["library.so", "tool"]
    assert binaries.is_built("tool")
    script.write_text("#!/bin/sh\necho the compiler is on holiday\nexit 3\n")
    with pytest.raises(LocalError, match="tool could not be built:\nthe compiler is on holiday"):
        binaries.path("tool")
    assert not binaries.is_built("tool")
