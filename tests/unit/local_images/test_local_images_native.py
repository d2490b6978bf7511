import os
import re
import subprocess
import sys

import pytest
from innervate_local import images
from innervate_local.errors import LocalError
from innervate_local.images import native, site


def _member(directory, body):
    package = directory / "src" / "swift"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text(body)
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "swift"\nversion = "1"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["src/swift"]\n'
        '[tool.innervate]\ncompiled = ["swift.words"]\n'
    )
    return directory


def test_a_named_module_is_compiled_where_that_can_be_done_and_source_elsewhere(tmp_path):
    member = _member(tmp_path / "member", "def twice(word: str) -> str:\n    return word + word\n")
    site.place([member], tmp_path / "site")
    finished = subprocess.run(
        [sys.executable, "-c", "from swift import words; print(words.twice('go'), words.__file__)"],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    said, file = finished.stdout.split()
    assert said == "gogo"
    assert file.endswith(".so") == (site.compiler([member]) is not None)
    assert (tmp_path / "site" / "swift" / "words.py").is_file()


def test_what_the_compiler_refuses_is_told(tmp_path):
    member = _member(tmp_path / "member", "def twice(word: str) -> str:\n    return 2\n")
    if site.compiler([member]) is None:
        site.place([member], tmp_path / "site")
        return
    with pytest.raises(LocalError, match=r"words\.py:2: .*Incompatible return value"):
        site.place([member], tmp_path / "site")


def test_packages_name_modules_that_they_have():
    root = images.workspace()
    named = [
        member / "src" / f"{name.replace('.', '/')}.py"
        for member in site.locked(root, "innervate-gateway").members
        for name in native.modules(member)
    ]
    assert named
    assert [path for path in named if not path.is_file()] == []


def test_the_containerfile_compiles_with_the_tools_of_the_lock_file():
    root = images.workspace()
    text = (root / "deploy" / "images" / "gateway" / "Containerfile").read_text()
    lock = (root / "uv.lock").read_text()
    for name in ("mypy", "setuptools"):
        version = re.search(rf'^name = "{name}"\nversion = "(.+)"$', lock, re.MULTILINE).group(1)
        assert f" {name}=={version}" in text
    script = native.__file__.removeprefix(f"{root}/")
    assert f"python3 {script} services/gateway {site.TARGET} " in text
