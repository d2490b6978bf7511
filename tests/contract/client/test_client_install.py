"""`innervate install` and `uninstall` on a real API server, where no node ever starts a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate import helm
from innervate.cli.output import Exit
from innervate_local import binaries

from tests.contract.client.conftest import store

if TYPE_CHECKING:
    from pathlib import Path

    from command import Innervate
    from innervate.kubectl import Kubectl


pytestmark = pytest.mark.contract


@pytest.fixture(autouse=True)
def helm_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """helm of the pinned version, with its files in the test's folder."""
    monkeypatch.setenv(helm.COMMAND, str(binaries.path("helm")))
    for kind in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"HELM_{kind}_HOME", str(tmp_path / kind.lower()))


def test_an_operator_that_does_not_start_is_told_and_can_be_removed(
    innervate: Innervate, kubectl: Kubectl
) -> None:
    # The definitions are there already, and a guard is a Job, which no node runs here.
    settings = [
        *("--set", "crds.install=false", "--set", "rbac.aggregate=false"),
        *("--set", "uninstallGuard.enabled=false", "--set", "replicas=1"),
    ]
    done = innervate("install", "--timeout", "3", *settings)
    assert done.returncode == Exit.FAILED
    assert f"kubectl -n {kubectl.namespace} get pods,events" in done.stderr
    deployment = kubectl.run("get", "deployment", "-o", "jsonpath={.items[*].spec.replicas}")
    assert deployment == "1"
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    gone = innervate("uninstall", "--yes")
    assert gone.returncode == Exit.OK, gone.stderr
    assert f"MemoryStore {kubectl.namespace}/support" in gone.stderr
    assert kubectl.run("get", "deployment", "-o", "name") == ""
    assert kubectl.run("get", "memorystore", "-o", "name") == "memorystore.innervate.dev/support\n"


def test_a_wrong_setting_is_refused_in_helms_words(innervate: Innervate) -> None:
    done = innervate("install", "--set", "replica=3")
    assert done.returncode == Exit.FAILED
    assert "replica" in done.stderr


def test_a_missing_helm_is_told(innervate: Innervate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(helm.COMMAND, "/nowhere/helm")
    done = innervate("install")
    assert done.returncode == Exit.TOOL_MISSING
    assert "install helm 3" in done.stderr
