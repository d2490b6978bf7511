"""What the chart runs inside a cluster: the memory round trip, and the guard before an uninstall."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from innervate_local import binaries

pytestmark = pytest.mark.e2e

SYSTEM = "innervate-system"


@pytest.fixture
def helm(lab):
    def run(*arguments):
        return subprocess.run(
            [
                *(str(binaries.path("helm")), *arguments),
                *(f"--namespace={SYSTEM}", f"--kubeconfig={lab.cluster.kubeconfig}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_helm_test_recalls_a_record_and_leaves_nothing(lab, helm):
    done = helm("test", "innervate")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recalled 'The spare key of the greenhouse hangs behind the watering can.'" in done.stderr
    kinds = "memorystores,serviceaccounts,roles,rolebindings,persistentvolumeclaims,secrets,statefulsets"
    # Children follow their owner a moment later.
    lab.eventually(lambda: "innervate-test" not in lab.kubectl("get", kinds, "-n", SYSTEM, "-o", "name"))


def test_uninstalling_is_refused_by_name_and_nothing_is_lost(lab, helm):
    with lab.namespace("held") as namespace:
        lab.apply(
            {
                "apiVersion": "innervate.dev/v1alpha1",
                "kind": "MemoryStore",
                "metadata": {
                    "name": "keeper",
                    "namespace": namespace,
                    "finalizers": ["innervate.dev/cleanup"],
                    "annotations": {"innervate.dev/paused": "true"},
                },
                "spec": {},
            }
        )
        try:
            refused = helm("uninstall", "innervate")
            assert refused.returncode != 0
            assert f"MemoryStore {namespace}/keeper" in refused.stderr
            assert lab.read("deployment", "innervate-operator", SYSTEM) is not None
            assert lab.read("job", "innervate-uninstall-guard", SYSTEM) is None
            # Helm takes the release for half gone until told otherwise, by the command that the guard names.
            [keep] = re.findall(r"helm (rollback innervate \d+) -n innervate-system", refused.stderr)
            kept = helm(*keep.split())
            assert kept.returncode == 0, kept.stderr
            assert "STATUS: deployed" in helm("status", "innervate").stdout
        finally:
            lab.kubectl(
                *("patch", "memorystore", "keeper", "-n", namespace, "--type=merge"),
                *("-p", '{"metadata": {"finalizers": null}}'),
            )


def test_the_guard_passes_in_the_operators_image_where_nothing_is_held(lab):
    # With nothing held, the guard lets an uninstall through: seen without uninstalling.
    chart = Path(__file__).resolve().parents[3] / "charts" / "innervate"
    script = (chart / "files" / "refuse_uninstall.py").read_text()
    [pod, *_] = lab.pods(SYSTEM, "app.kubernetes.io/component=operator")
    lab.kubectl("exec", "-n", SYSTEM, pod["metadata"]["name"], "--", "python3", "-c", script)
