"""`innervate release` on a real API server: keys, pushes, verdicts and lineage as a person sees them."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from innervate_kinds.parts.releases import KEYS
from innervate_releases import keys
from innervate_releases.build import build
from innervate_releases.location import open_store
from innervate_releases.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from command import Innervate
    from innervate.kubectl import Kubectl

pytestmark = pytest.mark.contract

PATH = "/apis/innervate.dev/v1alpha1/namespaces/{}/modelreleases/{}"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "assistant"
    directory.mkdir()
    (directory / "model.gguf").write_bytes(b"GGUF" * 1000)
    return directory


def declare(kubectl: Kubectl, name: str, number: int, status: dict[str, Any] | None = None) -> str:
    """Create a release and its status, as the operator would write it."""
    digest = f"sha256:{number:064x}"
    head = {"apiVersion": "innervate.dev/v1alpha1", "kind": "ModelRelease", "metadata": {"name": name}}
    manifest = {**head, "spec": {"artifact": {"uri": "pvc://models", "digest": digest}}}
    kubectl.run("create", "-f", "-", stdin=json.dumps(manifest))
    if status is not None:
        path = PATH.format(kubectl.namespace, name)
        resource = {**kubectl.read(path), "status": {"digest": digest, **status}}
        kubectl.run("replace", "--raw", f"{path}/status", "-f", "-", stdin=json.dumps(resource))
    return digest


def verdict(status: str, reason: str, message: str) -> dict[str, Any]:
    condition = {"status": status, "reason": reason, "message": message, "observedGeneration": 1}
    stamp = {"lastTransitionTime": "2026-01-31T08:30:00Z"}
    return {"conditions": [{"type": type_, **condition, **stamp} for type_ in ("Verified", "Ready")]}


def test_a_key_is_kept_in_a_secret_and_trusted(innervate: Innervate, kubectl: Kubectl) -> None:
    done = innervate("release", "keygen")
    assert done.returncode == 0, done.stderr
    trusted = json.loads(kubectl.run("get", "configmap", KEYS, "-o", "json"))["data"]
    assert trusted["release-signer"].strip() == done.stdout.strip()
    assert "PRIVATE" not in done.stdout
    secret = json.loads(kubectl.run("get", "secret", "release-signer", "-o", "json"))
    assert list(secret["data"]) == [keys.PRIVATE_KEY]
    again = innervate("release", "keygen")
    assert again.returncode == 1
    assert "a key is not overwritten" in again.stderr
    # The refused attempt has not replaced the key that is trusted.
    assert json.loads(kubectl.run("get", "configmap", KEYS, "-o", "json"))["data"] == trusted


def test_a_key_is_kept_in_a_file_and_beside_others(
    innervate: Innervate, kubectl: Kubectl, tmp_path: Path
) -> None:
    for name in ("team-a", "team-b"):
        out = tmp_path / f"{name}.pem"
        assert innervate("release", "keygen", "--name", name, "--out", str(out)).returncode == 0
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    trusted = json.loads(kubectl.run("get", "configmap", KEYS, "-o", "json"))["data"]
    assert sorted(trusted) == ["team-a", "team-b"]
    same = innervate("release", "keygen", "--name", "team-a", "--out", str(tmp_path / "other.pem"))
    assert same.returncode == 1
    assert "another key is trusted as 'team-a'" in same.stderr


def test_a_release_is_stored_and_signed(innervate: Innervate, model: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    innervate("release", "keygen", "--out", str(key), "--no-trust")
    uri = (tmp_path / "store").as_uri()
    done = innervate(
        *("release", "push", str(model), "--to", uri, "--key", str(key)),
        *("--produced-by", "a person", "--hyperparameter", "rate=0.1"),
    )
    assert done.returncode == 0, done.stderr
    digest = done.stdout.strip()
    assert digest == build(model, produced_by="a person", hyperparameters={"rate": "0.1"}).digest
    public = keys.load_private(key.read_bytes(), "key").public_key()
    assert verify(open_store(uri), digest, {"mine": public}).key == "mine"
    orphan = innervate("release", "push", str(model), "--to", uri, "--parent", f"sha256:{7:064x}")
    assert orphan.returncode == 5
    assert "does not hold the parent" in orphan.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--to", "models"), "no address of a release store"),
        (("--to", "pvc://nothing"), "no PersistentVolumeClaim 'nothing'"),
        (("--to", "pvc://models", "--signer", "signer"), "--signer needs --name"),
        (("--to", "pvc://models", "--key", "a", "--signer", "b", "--name", "c"), "choose one"),
        (("--to", "pvc://models", "--key", "nowhere.pem"), "nowhere.pem cannot be read"),
        (("--to", "pvc://models", "--parent", "nobody"), "ModelRelease nobody"),
        (("--to", "pvc://models", "--hyperparameter", "rate"), "'rate' is not NAME=VALUE"),
        (("--to", "file:///tmp/a", "--name", "a"), "does not reach a file of this machine"),
    ],
)
def test_what_is_wrong_is_said(
    innervate: Innervate, model: Path, options: tuple[str, ...], said: str
) -> None:
    done = innervate("release", "push", str(model), *options)
    assert done.returncode in (1, 3, 5)
    assert said in done.stderr


def test_releases_are_shown_with_what_they_come_from(innervate: Innervate, kubectl: Kubectl) -> None:
    fine = verdict("True", "Verified", "signed by key 'team'")
    root = declare(kubectl, "first", 1, {"verified": True, "keyId": "team", "sizeBytes": 2048, **fine})
    gone = f"sha256:{99:064x}"
    made = {"producedBy": "a pipeline", "parents": [root, gone]}
    declare(kubectl, "second", 2, {"verified": True, "keyId": "team", **made, **fine})
    shown = innervate("release", "show", "second").stdout
    assert "a pipeline" in shown
    assert f"first  {root}" in shown
    assert gone in shown
    drawn = innervate("release", "lineage", "second").stdout.splitlines()
    assert len(drawn) == 3
    assert drawn[0].startswith("second")
    assert "first" in drawn[1]
    assert "no ModelRelease in this namespace" in drawn[2]
    told = json.loads(innervate("release", "lineage", "second", "-o", "json").stdout)
    assert [parent.get("name") for parent in told["parents"]] == ["first", None]
    missing = innervate("release", "show", "nobody")
    assert missing.returncode == 5
    assert "innervate get modelreleases" in missing.stderr


def test_a_verification_is_asked_for_and_awaited(innervate: Innervate, kubectl: Kubectl) -> None:
    fine = verdict("True", "Verified", "signed by key 'team'")
    declare(kubectl, "first", 1, {"verified": True, "job": "first-modelrelease", **fine})
    # No operator is here: the old verdict does not pass for the one that was asked for.
    done = innervate("release", "verify", "first", "--timeout", "1")
    assert done.returncode == 3
    assert "no verdict on ModelRelease first" in done.stderr
    asked = kubectl.read(PATH.format(kubectl.namespace, "first"))["metadata"]["annotations"]
    assert asked["innervate.dev/verify"]
