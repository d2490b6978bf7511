"""What pods run, as they run it: outcome, exit code and words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from innervate_releases import keys, store

from tests.unit.releases.conftest import FILES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.releases.conftest import World


def run(*arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "innervate_releases", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {"usage": done.stderr}


@pytest.fixture
def trusted_keys(world: World, tmp_path: Path) -> str:
    directory = tmp_path / "keys"
    directory.mkdir()
    (directory / "team-a").write_bytes(keys.public_pem(world.private.public_key()))
    # A mounted ConfigMap has such directories.
    (directory / "..data").mkdir()
    return f"--keys={directory}"


def of(world: World) -> tuple[str, str]:
    return f"--uri={world.root.as_uri()}", f"--digest={world.digest}"


def test_signs_verifies_and_fetches(world: World, trusted_keys: str, tmp_path: Path) -> None:
    private, public = keys.generate()
    code, said = run("sign", *of(world), INNERVATE_SIGNING_KEY=private.decode())
    assert (code, said["result"]) == (0, "Signed")
    code, said = run("verify", *of(world), trusted_keys)
    assert (code, said["result"], said["part"]) == (3, "Refused", "Signature")
    (tmp_path / "keys/team-b").write_bytes(public)
    code, said = run("verify", *of(world), trusted_keys)
    assert (code, said) == (
        0,
        {
            "result": "Verified",
            "digest": world.digest,
            "keyId": "team-b",
            "parents": [world.parent],
            "producedBy": "",
            "sizeBytes": world.manifest.size,
        },
    )
    code, said = run("fetch", *of(world), trusted_keys, "--file=model.gguf", f"--into={tmp_path / 'out'}")
    assert (code, said["result"]) == (0, "Fetched")
    assert (tmp_path / "out/model.gguf").read_bytes() == FILES["model.gguf"]


def test_wrong_bytes_are_refused_for_good(world: World, trusted_keys: str) -> None:
    path = world.root / store.blob(world.manifest.file("model.gguf").digest).path
    path.write_bytes(b"!" + path.read_bytes()[1:])
    code, said = run("verify", *of(world), trusted_keys)
    assert (code, said["result"], said["part"], said["subject"]) == (3, "Refused", "Blob", "model.gguf")
    assert "model.gguf" in said["message"]


def test_what_may_pass_is_told_apart(world: World, tmp_path: Path) -> None:
    code, said = run("verify", *of(world), f"--keys={tmp_path / 'none'}")
    assert (code, said["result"], said["part"], said["missing"]) == (1, "Failed", "Key", True)
    code, said = run("verify", "--uri=pvc://claim", of(world)[1])
    assert (code, said["result"], said["part"]) == (1, "Failed", "Key")
    code, said = run("sign", *of(world), INNERVATE_SIGNING_KEY="no key")
    assert (code, said["result"], said["part"]) == (1, "Failed", "Key")
    assert "innervate release keygen" in said["message"]


def test_a_manifest_is_shown_as_it_is(world: World) -> None:
    code, said = run("manifest", *of(world))
    assert (code, said["manifest"]) == (0, json.loads(world.manifest.canonical()))
    path = world.root / store.manifest(world.digest).path
    path.write_bytes(path.read_bytes().replace(b"0.001", b"0.002"))
    code, said = run("manifest", *of(world))
    assert (code, said["part"]) == (3, "Manifest")


def test_a_wrong_digest_is_a_wrong_usage(world: World) -> None:
    code, said = run("verify", of(world)[0], "--digest=latest")
    assert code == 2
    assert "no digest" in said["usage"]
