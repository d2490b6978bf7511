"""Install, upgrade, roll back, uninstall, install again: definitions follow, stored objects stay."""

from __future__ import annotations

import shutil

import pytest
import yaml
from innervate_kinds.registry import ROOMS

pytestmark = pytest.mark.contract

DEFINITIONS = {f"{room.kind.plural}.{room.kind.group}" for room in ROOMS}
STORE = {
    "apiVersion": "innervate.dev/v1alpha1",
    "kind": "MemoryStore",
    "metadata": {"name": "support", "namespace": "default"},
    "spec": {"reclaimPolicy": "Delete", "service": {"replicas": 3}},
}
POOL = {
    "apiVersion": "innervate.dev/v1alpha1",
    "kind": "ComputePool",
    "metadata": {"name": "edge"},
    "spec": {"class": "edge", "nodeSelector": {"innervate.dev/pool": "edge"}},
}


@pytest.fixture
def older_chart(chart, tmp_path):
    """The chart as a release before this one, whose MemoryStores knew no retention."""
    older = tmp_path / "older"
    shutil.copytree(chart, older)
    description = yaml.safe_load((older / "Chart.yaml").read_text())
    (older / "Chart.yaml").write_text(
        yaml.safe_dump({**description, "version": "0.0.1", "appVersion": "0.0.1"})
    )
    path = older / "files" / "crds" / "memorystores.innervate.dev.yaml"
    crd = yaml.safe_load(path.read_text())
    for version in crd["spec"]["versions"]:
        del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["retention"]
    path.write_text(yaml.safe_dump(crd))
    return older


def spec_fields(cluster):
    crd = cluster.get("crd", "memorystores.innervate.dev")
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].keys()


def stored(cluster):
    """What must never change under a user: which objects there are, and what they ask for."""
    objects = (cluster.get("memorystore", "support", "-n", "default"), cluster.get("computepool", "edge"))
    return [(each["metadata"]["uid"], each["metadata"]["generation"], each["spec"]) for each in objects]


def test_stored_objects_survive_every_step(cluster, older_chart):
    cluster.install(chart=older_chart)
    assert "retention" not in spec_fields(cluster)
    cluster.apply(POOL)
    cluster.apply(STORE)
    before = stored(cluster)

    cluster.install()
    assert "retention" in spec_fields(cluster), "an upgrade upgrades the definitions"
    upgraded = stored(cluster)
    assert [each[:2] for each in upgraded] == [each[:2] for each in before]
    for (*_, new), (*_, old) in zip(upgraded, before, strict=True):
        assert old.items() <= new.items(), "an upgrade adds defaults and takes nothing away"

    cluster.helm("rollback", "innervate", "1")
    assert "retention" not in spec_fields(cluster)
    assert stored(cluster) == before

    cluster.helm("uninstall", "innervate", "--no-hooks")
    gone = cluster.kubectl("get", "deployment", "innervate-operator", "-n", "innervate-system", ok=False)
    assert "NotFound" in gone.stderr
    kept = {each["metadata"]["name"] for each in cluster.get("crd")["items"]}
    assert kept == DEFINITIONS
    assert stored(cluster) == before

    cluster.install()
    assert stored(cluster) == upgraded
    for name in DEFINITIONS:
        conditions = cluster.get("crd", name)["status"]["conditions"]
        assert {"Established", "NamesAccepted"} <= {
            each["type"] for each in conditions if each["status"] == "True"
        }


def test_another_release_may_take_the_definitions_over(cluster, chart):
    cluster.install()
    cluster.apply(STORE)
    cluster.apply(POOL)
    before = stored(cluster)
    cluster.helm("uninstall", "innervate", "--no-hooks")

    refused = cluster.helm("install", "nerves", str(chart), ok=False)
    assert refused.returncode != 0
    assert "cannot be imported into the current release" in refused.stderr
    cluster.helm("install", "nerves", str(chart), "--take-ownership")
    assert stored(cluster) == before
    cluster.helm("uninstall", "nerves", "--no-hooks")


def test_our_kinds_are_listed_together(cluster):
    cluster.install()
    cluster.apply(STORE)
    cluster.apply(POOL)
    listed = cluster.kubectl("get", "innervate", "-A", "-o", "name").stdout.split()
    assert listed == ["computepool.innervate.dev/edge", "memorystore.innervate.dev/support"]


def test_notes_tell_the_next_steps(cluster):
    cluster.install({"watchNamespaces": []})
    notes = cluster.helm("get", "notes", "innervate").stdout
    for command in (
        "rollout status deployment/innervate-operator",
        "kubectl get innervate -A",
        "helm test innervate",
    ):
        assert command in notes
