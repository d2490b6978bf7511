"""A release from a laptop to a verdict, on a real cluster: pushed, verified, tampered with, refused."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from innervate_local import images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Done, Innervate

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CLAIM = "models"
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def studio(lab: Lab) -> Iterator[str]:
    """Namespace with a volume for models."""
    with lab.namespace("studio") as namespace:
        lab.apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM, "namespace": namespace},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
            }
        )
        yield namespace


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "assistant"
    directory.mkdir()
    (directory / "model.gguf").write_bytes(b"GGUF" + bytes(range(256)) * 8192)
    (directory / "config.json").write_text('{"layers": 2}')
    return directory


def release(name: str, namespace: str, digest: str, claim: str = CLAIM) -> dict[str, Any]:
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "ModelRelease",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"artifact": {"uri": f"pvc://{claim}", "digest": digest}},
    }


def in_volume(lab: Lab, namespace: str, program: str) -> None:
    """Run a Python program in a pod that has the volume at /store."""
    name = f"volume-{uuid.uuid4().hex[:6]}"
    container = {
        "name": "program",
        "image": images.BASE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", program],
        "securityContext": SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "store", "mountPath": "/store"}],
    }
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "containers": [container],
                "volumes": [{"name": "store", "persistentVolumeClaim": {"claimName": CLAIM}}],
            },
        }
    )

    def phase() -> str:
        pod = lab.read("pod", name, namespace)
        found = pod["status"].get("phase") if pod else ""
        return found if found in {"Succeeded", "Failed"} else ""

    assert lab.eventually(phase, seconds=120) == "Succeeded", lab.story(namespace)


def told(lab: Lab, name: str, namespace: str, reason: str) -> str:
    """Wait until `Verified` has a reason, and give its message."""

    def message() -> str:
        found = lab.condition("modelrelease", name, "Verified", namespace)
        return found["message"] if found.get("reason") == reason else ""

    said: str = lab.eventually(message, seconds=180)
    return said


def done(outcome: Done) -> str:
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def test_pushed_verified_tampered_refused(lab: Lab, studio: str, model: Path, innervate: Innervate) -> None:
    where = ("-n", studio)
    # The first release is signed on the laptop.
    key = model.parent / "team.pem"
    done(innervate("release", "keygen", "--name", "team", "--out", str(key), *where))
    to = ("--to", f"pvc://{CLAIM}")
    pushed = innervate("release", "push", str(model), *to, "--name", "first", "--key", str(key), *where)
    assert pushed.returncode == 0, (pushed.stderr, lab.story(studio))
    assert "verified: signed by key 'team'" in pushed.stderr
    first = lab.read("modelrelease", "first", studio)
    assert first is not None
    assert first["status"]["verified"] is True
    assert first["status"]["digest"] == first["spec"]["artifact"]["digest"]

    # The second one comes from the first, and the cluster signs it.
    done(innervate("release", "keygen", *where))
    (model / "config.json").write_text('{"layers": 3}')
    made = ("--parent", "first", "--produced-by", "a person", "--signer", "release-signer")
    done(innervate("release", "push", str(model), *to, "--name", "second", *made, *where))
    second = json.loads(done(innervate("release", "show", "second", "-o", "json", *where)))
    assert second["status"]["keyId"] == "release-signer"
    assert second["status"]["parents"] == [first["status"]["digest"]]
    manifest = json.loads(done(innervate("release", "show", "second", "--manifest", *where)))
    assert [file["path"] for file in manifest["files"]] == ["config.json", "model.gguf"]
    assert manifest["producedBy"] == "a person"
    drawn = done(innervate("release", "lineage", "second", *where)).splitlines()
    assert drawn[0].startswith("second")
    assert "first" in drawn[1]
    assert "signed by team" in drawn[1]
    told_as_json = json.loads(done(innervate("release", "lineage", "second", "-o", "json", *where)))
    assert told_as_json["parents"][0]["name"] == "first"

    # A verdict needs no policy any more, and no pusher is left.
    lab.eventually(lambda: lab.read("networkpolicy", "second-modelrelease", studio) is None)
    lab.eventually(lambda: lab.gone(studio, "app.kubernetes.io/name=release-push"))

    # One byte of the file that both share is changed on the volume.
    in_volume(
        lab,
        studio,
        "import glob, os\n"
        "path = max(glob.glob('/store/blobs/sha256/*'), key=os.path.getsize)\n"
        "with open(path, 'r+b') as file:\n"
        "    file.seek(100); byte = file.read(1); file.seek(100); file.write(bytes([byte[0] ^ 1]))\n",
    )
    lab.apply(release("third", studio, second["status"]["digest"]))
    assert "blob of model.gguf" in told(lab, "third", studio, "BlobRefused")
    assert lab.condition("modelrelease", "third", "Ready", studio)["status"] == "False"
    # What was verified before says so until it is asked again.
    again = innervate("release", "verify", "first", *where)
    assert again.returncode == 1
    assert "BlobRefused" in again.stderr
    assert "model.gguf" in again.stderr

    # A push that is told to sends everything again, and mends it.
    done(innervate("release", "push", str(model), *to, "--parent", "second", "--again", *where))
    assert "is verified" in innervate("release", "verify", "first", *where).stderr


def test_what_is_missing_is_told_and_mended(lab: Lab, studio: str, model: Path, innervate: Innervate) -> None:
    where = ("-n", studio)
    digest = done(innervate("release", "push", str(model), "--to", f"pvc://{CLAIM}", *where)).strip()
    lab.apply(release("unsigned", studio, digest), release("nowhere", studio, digest, claim="other"))
    assert "innervate release keygen" in told(lab, "unsigned", studio, "KeyMissing")
    assert "'other'" in told(lab, "nowhere", studio, "ClaimMissing")
    # The Job that waits for the keys goes on by itself once they are there.
    done(innervate("release", "keygen", *where))
    assert "is not in pvc://models" in told(lab, "unsigned", studio, "SignatureMissing")
