import hashlib
import json
import tarfile

import pytest
from innervate_local.images import archive, store


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _image(name, *layers):
    return archive.image(f"innervate/{name}:1", {"User": "1"}, [store.put(layer) for layer in layers])


def _read(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_every_descriptor_leads_to_content_of_its_digest_and_size(tmp_path):
    archive.write([_image("a", b"base", b"top")], tmp_path / "a.tar")
    files = _read(tmp_path / "a.tar")
    (entry,) = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/innervate/a:1"

    def content(descriptor):
        found = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert f"sha256:{hashlib.sha256(found).hexdigest()}" == descriptor["digest"]
        assert len(found) == descriptor["size"]
        return found

    manifest = json.loads(content(entry))
    assert [content(layer) for layer in manifest["layers"]] == [b"base", b"top"]
    config = json.loads(content(manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert len(config["history"]) == len(manifest["layers"])
    assert config["config"] == {"User": "1"}


def test_a_shared_layer_is_carried_once_and_a_known_one_not_at_all(tmp_path):
    images = [_image("a", b"base", b"a"), _image("b", b"base", b"b")]
    archive.write(images, tmp_path / "all.tar")
    assert list(_read(tmp_path / "all.tar").values()).count(b"base") == 1
    archive.write(images, tmp_path / "thin.tar", without=frozenset({images[0].layers[0].digest}))
    assert b"base" not in _read(tmp_path / "thin.tar").values()


def test_a_recipe_is_made_once_and_again_when_its_blob_is_lost():
    made = []

    def make(output):
        made.append(1)
        output.write(b"content")

    first = store.made("r", make)
    assert store.made("r", make) == first
    assert len(made) == 1
    store.path(first.digest).unlink()
    assert store.made("r", make) == first
    assert len(made) == 2
