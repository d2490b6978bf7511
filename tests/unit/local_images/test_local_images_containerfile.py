import os
import re
from pathlib import Path

import pytest
from innervate_local import binaries, images
from innervate_local.errors import LocalError
from innervate_local.images import containerfile, rootfs, site

ROOT = images.workspace()
PYTHON = sorted(name for name, service in images.SERVICES.items() if service.package)


def _path(name):
    return ROOT / "deploy" / "images" / name / "Containerfile"


@pytest.mark.parametrize("name", sorted(images.SERVICES))
def test_every_image_runs_as_the_same_unprivileged_user_that_it_names(name):
    stage = containerfile.last_stage(_path(name))
    assert stage.config["User"] == "65532:65532"
    etc = next(copy for copy in stage.copies if copy.stage is None)
    assert etc.target == "/etc"
    assert "\nnonroot:x:65532:65532:" in (ROOT / etc.source / "passwd").read_text()
    assert stage.config["Labels"]["org.opencontainers.image.version"] == images.VERSION


@pytest.mark.parametrize("name", PYTHON)
def test_python_containerfile_makes_what_the_local_layers_hold(name):
    text = _path(name).read_text()
    stage = containerfile.last_stage(_path(name))
    assert stage.base == "${BASE_IMAGE}"
    assert containerfile.Copy(site.TARGET, site.TARGET, "site") in stage.copies
    assert f"PYTHONPATH={site.TARGET}" in stage.config["Env"]
    package = images.SERVICES[name].package
    assert f"--package {package} " in text
    members = {f"./{member.relative_to(ROOT)}" for member in site.locked(ROOT, package).members}
    listed = re.search(r"--no-deps (\./[^\n\\]*?) *\\\n", text)
    assert set(listed.group(1).split()) == members
    assert f"python:{rootfs.PYTHON[0]}.{rootfs.PYTHON[1]}-slim-{rootfs.SUITE}" in text


@pytest.mark.parametrize("name", PYTHON)
def test_containerfile_pins_the_same_uv_as_the_checkout(name):
    pinned = re.search(r"^version=(\S+)$", (ROOT / "scripts" / "uv").read_text(), re.MULTILINE).group(1)
    assert f"uv=={pinned}" in _path(name).read_text()


def test_redis_containerfile_installs_the_packages_of_the_local_layer():
    text = _path("redis").read_text()
    for package in images.SERVICES["redis"].packages:
        assert f" {package} " in text
    assert containerfile.last_stage(_path("redis")).base == "server"


def test_a_built_programs_containerfile_runs_the_same_script():
    for name, service in images.SERVICES.items():
        if service.program:
            source = Path(binaries.__file__).parent / service.program
            assert f"COPY {source.relative_to(ROOT)} ." in _path(name).read_text()
            stage = containerfile.last_stage(_path(name))
            (built,) = (copy for copy in stage.copies if copy.stage)
            assert f"RUN ./{binaries.SCRIPT} {built.source}\n" in _path(name).read_text()
            assert os.access(source / binaries.SCRIPT, os.X_OK)
            assert stage.config["Env"][0].startswith(f"PATH={built.target}:")
            assert stage.config["Entrypoint"] == [service.program]


def test_only_the_last_stage_counts(tmp_path):
    path = tmp_path / "Containerfile"
    path.write_text(
        "FROM a AS one\nRUN anything\nUSER 0\n# said once\nFROM ${B}\n"
        'ENV A=1 \\\n    B="two words"\nCMD ["x"]\n'
    )
    stage = containerfile.last_stage(path)
    assert stage.base == "${B}"
    assert stage.config == {"Cmd": ["x"], "Env": ["A=1", "B=two words"], "Labels": {}}


def test_an_instruction_that_would_be_passed_over_is_refused(tmp_path):
    path = tmp_path / "Containerfile"
    path.write_text("FROM a\nRUN rm /etc/shadow\n")
    with pytest.raises(LocalError, match="RUN in the last stage"):
        containerfile.last_stage(path)
