"""A volume that is full: said plainly, nothing acknowledged is lost, and more room is all it takes."""

from __future__ import annotations

import subprocess
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from innervate import Retry

from tests.e2e.lab import store
from tests.e2e.memory.writer import Writer, check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.lab import Lab

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

SIZE, ENLARGED = "4Mi", "64Mi"
USER = 65532
"""As whom Redis runs."""
FILLER = " and what it was about" * 1500
IMPATIENT = Retry(timeout=6, attempt_timeout=3)


class Volume:
    """A volume on a node of the cluster with a size that is enforced: a file system in memory."""

    def __init__(self, lab: Lab, path: Path, name: str) -> None:
        self.name = name
        self._lab = lab
        self._path = path
        self._node = lab.cluster.nodes[0].name

    def make(self) -> None:
        """Mount it and offer it to the cluster under a storage class of its own."""
        self._path.mkdir()
        options = f"size={SIZE[:-1]},uid={USER},gid={USER},mode=0770"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, self.name, str(self._path)], check=True)
        self._lab.apply(*self._manifests())

    def enlarge(self) -> None:
        """Make room."""
        subprocess.run(["mount", "-o", f"remount,size={ENLARGED[:-1]}", str(self._path)], check=True)

    def remove(self) -> None:
        """Take it away with all that is on it; nobody uses it any more."""
        for kind in ("persistentvolume", "storageclass"):
            self._lab.kubectl("delete", kind, self.name, "--ignore-not-found", "--wait=false")
        self._lab.eventually(lambda: subprocess.run(["umount", str(self._path)], check=False).returncode == 0)
        self._path.rmdir()

    def _manifests(self) -> list[dict[str, Any]]:
        here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [self._node]}
        metadata = {"name": self.name}
        return [
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": metadata,
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": "WaitForFirstConsumer",
            },
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": metadata,
                "spec": {
                    "capacity": {"storage": SIZE},
                    "accessModes": ["ReadWriteOnce"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": self.name,
                    "local": {"path": str(self._path)},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
                },
            },
        ]


@contextmanager
def tight_store(lab: Lab, namespace: str, name: str, durability: str) -> Iterator[Volume]:
    """A store on a small volume, which starts meanwhile."""
    unique = f"tight-{uuid.uuid4().hex[:6]}"
    volume = Volume(lab, lab.cluster.nodes[0].storage / unique, unique)
    redis = {"size": SIZE, "memory": "64Mi", "storageClassName": unique, "durability": durability}
    pods = f"app.kubernetes.io/instance={name},app.kubernetes.io/component=redis"
    try:
        volume.make()
        lab.apply(store(name, namespace, reclaimPolicy="Delete", storage={"redis": redis}))
        yield volume
    finally:
        lab.kubectl("delete", "memorystore", name, "-n", namespace, "--ignore-not-found")
        lab.kill_pods(namespace, pods)
        lab.eventually(lambda: lab.gone(namespace, pods))
        volume.remove()


@pytest.fixture(scope="module")
def tight(lab: Lab) -> Iterator[tuple[str, dict[str, Volume]]]:
    """Namespace with a store on a small volume for each durability."""
    with (
        lab.namespace("disk") as namespace,
        tight_store(lab, namespace, "always", "Always") as always,
        tight_store(lab, namespace, "every-second", "EverySecond") as every_second,
    ):
        yield namespace, {"always": always, "every-second": every_second}


@pytest.mark.parametrize("name", ["always", "every-second"])
def test_a_full_disk_is_told_and_loses_nothing(
    lab: Lab, tight: tuple[str, dict[str, Volume]], name: str
) -> None:
    namespace, volumes = tight
    lab.ready("memorystore", name, namespace)
    with lab.memory(name, namespace, retry=IMPATIENT) as memory:
        with Writer(memory, "default", filler=FILLER) as writer:
            writer.advance(20)
            message = lab.told(name, namespace, "DiskFull")
            assert "disk" in message or "volume" in message
            assert "spec.storage.redis.size" in message
            lab.eventually(lambda: any("disk" in line for line in writer.gave_up), seconds=30)
            volumes[name].enlarge()
            writer.advance(seconds=90)
            # Ready while it is written to, not only because nobody asks.
            lab.ready("memorystore", name, namespace)
        check(writer, memory, "default")
