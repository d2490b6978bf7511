"""A node that starts from the kept root has the images, and shares nothing that it writes."""

import io
import subprocess
import tarfile
from contextlib import contextmanager

import pytest
from innervate_local import containerd, packages, process
from innervate_local.images import archive, roots, store

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    packages.ensure(*packages.NODE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _image(content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 2 * roots._WORTH
        tar.addfile(entry, io.BytesIO(content * entry.size))
    return archive.image("innervate/test:1", {}, [store.put(packed.getvalue())])


@contextmanager
def _running(root, directory):
    directory.mkdir()
    socket = directory / "c.sock"
    settings = directory / "containerd.toml"
    settings.write_text(
        containerd.configuration(
            root=root,
            state=directory / "state",
            socket=socket,
            networks=directory / "networks",
            plugins=containerd.plugin_directory(),
        )
    )
    log = directory / "log"
    daemon = process.start(["containerd", "--config", str(settings)], log=log, dies_with_parent=True)
    try:
        containerd.await_ready(socket)
        yield (
            lambda *words: (
                subprocess.run(
                    ["ctr", "--address", str(socket), "--namespace", "k8s.io", *words],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
        )
    finally:
        daemon.terminate()
        daemon.wait()


def test_a_seeded_containerd_has_the_images_unpacked(tmp_path):
    image = _image(b"x")
    roots.keep([image])
    roots.seed(tmp_path / "one")
    roots.seed(tmp_path / "two")
    for database in (tmp_path / "one").rglob("*.db"):
        assert database.stat().st_nlink == 1
    with _running(tmp_path / "one", tmp_path / "run") as ctr:
        assert image.manifest.digest in ctr("images", "list")
        (layer,) = image.layers
        assert layer.digest in ctr("snapshots", "list")  # a single layer is known by its own digest
        ctr("images", "remove", "--sync", image.name)
    with _running(tmp_path / "two", tmp_path / "run2") as ctr:
        assert image.manifest.digest in ctr("images", "list")


def test_a_root_is_made_again_only_for_a_large_layer_it_lacks():
    roots.keep([_image(b"x")])
    (roots._kept() / "mark").touch()
    roots.keep([_image(b"x")])
    assert (roots._kept() / "mark").exists()
    roots.keep([_image(b"y")])
    assert not (roots._kept() / "mark").exists()


def test_without_a_kept_root_a_node_starts_from_nothing(tmp_path):
    roots.seed(tmp_path / "one")
    assert not (tmp_path / "one").exists()
