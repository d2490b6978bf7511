import importlib.util
import marshal

import pytest
from innervate_local import images
from innervate_local.images import rootfs, site


def _member(directory, body="VALUE = 1\n"):
    package = directory / "src" / "thing"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(body)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "old.cpython-311.pyc").write_bytes(b"old")
    (directory / "pyproject.toml").write_text(
        '[project]\nname = "a-thing"\nversion = "7"\n'
        '[tool.hatch.build.targets.wheel]\npackages = ["src/thing"]\n'
    )
    return directory


def test_a_member_is_placed_as_an_installation_would(tmp_path, monkeypatch):
    site.place([_member(tmp_path / "member")], tmp_path / "site")
    assert not list((tmp_path / "site").rglob("old*"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert importlib.metadata.version("a-thing") == "7"


def test_compiled_files_are_trusted_unchecked_and_name_their_place_in_the_image(tmp_path):
    site.place([_member(tmp_path / "member")], tmp_path / "site")
    compiled = list((tmp_path / "site").rglob("*.pyc"))
    assert bool(compiled) == site._COMPILES
    for path in compiled:
        content = path.read_bytes()
        assert content[:4] == importlib.util.MAGIC_NUMBER
        assert content[4:8] == b"\x01\0\0\0"
        code = marshal.loads(content[16:])  # noqa: S302 - compiled by this test
        assert code.co_filename == f"{site.TARGET}/thing/__init__.py"


@pytest.mark.parametrize(
    "name", sorted(name for name, each in images.SERVICES.items() if each.package and each.shares)
)
def test_shared_dependencies_are_a_part_of_every_services(name):
    root = images.workspace()
    shared = site.locked(root, images.SHARED)
    own = site.locked(root, images.SERVICES[name].package)
    assert shared.requirements
    assert set(shared.requirements) <= set(own.requirements)
    assert set(shared.members) <= set(own.members)
    assert all("--hash=sha256:" in line for line in own.requirements)


def test_another_set_of_packages_is_another_root_file_system():
    assert rootfs.recipe(("a",)) != rootfs.recipe(("a", "b"))
    assert rootfs.recipe(("a",)) == rootfs.recipe(("a",))
