"""A control plane starts, is a real Kubernetes, and leaves nothing running."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from os import pidfd_open
from typing import TYPE_CHECKING

import pytest
from innervate_local import binaries, process
from innervate_local.control_plane import ISSUER, ControlPlane

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.contract


def kubectl(kubeconfig: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(binaries.path("kubernetes")), "kubectl", f"--kubeconfig={kubeconfig}", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_serves_the_pinned_version(api_server: ControlPlane) -> None:
    version = json.loads(kubectl(api_server.kubeconfig, "get", "--raw", "/version").stdout)
    assert version["gitVersion"] == f"v{binaries.KUBERNETES_VERSION}"


def test_issues_and_publishes_service_account_tokens(api_server: ControlPlane) -> None:
    assert kubectl(api_server.kubeconfig, "create", "serviceaccount", "caller").returncode == 0
    token = kubectl(api_server.kubeconfig, "create", "token", "caller", "--audience=innervate")
    assert token.stdout.count(".") == 2, token.stderr
    discovery = kubectl(api_server.kubeconfig, "get", "--raw", "/.well-known/openid-configuration")
    assert json.loads(discovery.stdout)["issuer"] == ISSUER
    keys = kubectl(api_server.kubeconfig, "get", "--raw", "/openid/v1/jwks")
    assert json.loads(keys.stdout)["keys"]


def test_another_user_is_known_by_name_and_groups(api_server: ControlPlane) -> None:
    kubeconfig = api_server.kubeconfig_for("mallory", groups=["guests"])
    assert kubeconfig.stat().st_mode & 0o077 == 0
    said = json.loads(kubectl(kubeconfig, "auth", "whoami", "-o", "json").stdout)
    assert said["status"]["userInfo"]["username"] == "mallory"
    assert "guests" in said["status"]["userInfo"]["groups"]
    refused = kubectl(kubeconfig, "get", "secrets")
    assert refused.returncode != 0
    assert "Forbidden" in refused.stderr


def test_controllers_run_on_request(tmp_path: Path) -> None:
    with ControlPlane(tmp_path, controller_manager=True, scheduler=True) as plane:
        waited = kubectl(plane.kubeconfig, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        assert waited.returncode == 0, waited.stderr
        assert set(plane.processes) == {
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        }


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path).start()
    processes = list(plane.processes.values())
    assert len(processes) == 2
    assert all(map(process.is_running, processes))
    plane.stop()
    assert not any(map(process.is_running, processes))


STARTS_AND_WAITS = """
import pathlib, sys, time
from innervate_local.control_plane import ControlPlane
plane = ControlPlane(pathlib.Path(sys.argv[1])).start()
print(*(identity.pid for identity in plane.processes.values()), flush=True)
sys.stdin.read()
"""


def test_processes_die_with_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout
        handles = [pidfd_open(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(handles) == 2
        parent.kill()
        for handle in handles:
            assert select.select([handle], [], [], 30)[0], "a component outlived its parent"
