"""The command as a person uses it: on a laptop, as a plugin of kubectl, with a developer's rights."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml
from innervate_local import binaries

from tests.e2e.lab import store

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e


class Laptop(NamedTuple):
    """A person's PATH and kubeconfig."""

    path: Path
    kubeconfig: Path

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the PATH to its end."""
        environment = {key: value for key, value in os.environ.items() if key != "INNERVATE_KUBECTL"}
        environment |= {
            "PATH": f"{self.path}:/usr/bin:/bin",
            "KUBECONFIG": str(self.kubeconfig),
            "COLUMNS": "300",
        }
        return subprocess.run(
            [str(self.path / command), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Directory with `kubectl` and what installing the client puts beside it."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    kubectl = bin_directory / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {binaries.path("kubernetes")} kubectl "$@"\n')
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    for command in ("innervate", "kubectl-innervate"):
        (bin_directory / command).symlink_to(Path(sys.executable).parent / command)
    return bin_directory


@pytest.fixture
def administrator(lab: Lab, path: Path) -> Laptop:
    """Laptop of somebody who may do everything."""
    return Laptop(path, lab.cluster.kubeconfig)


@pytest.fixture
def developer(lab: Lab, path: Path, shop: str) -> Laptop:
    """Laptop of somebody with the role `edit` in the shop's namespace, and nothing else."""
    return of_person(lab, path, shop, "developer", {"kind": "ClusterRole", "name": "edit"})


@pytest.fixture
def reader(lab: Lab, path: Path, shop: str) -> Laptop:
    """Laptop of somebody with the rights that docs/client.md names for `innervate memory`, and no others."""
    rules = [
        {"apiGroups": ["innervate.dev"], "resources": ["memorystores"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps", "services"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/portforward", "serviceaccounts/token"], "verbs": ["create"]},
    ]
    api = "rbac.authorization.k8s.io/v1"
    metadata = {"name": "reader", "namespace": shop}
    lab.apply({"apiVersion": api, "kind": "Role", "metadata": metadata, "rules": rules})
    return of_person(lab, path, shop, "reader", {"kind": "Role", "name": "reader"})


def of_person(lab: Lab, path: Path, namespace: str, name: str, role: dict[str, str]) -> Laptop:
    """Laptop of a person who has one role in one namespace."""
    metadata = {"name": name, "namespace": namespace}
    lab.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", **role},
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
    )
    config = yaml.safe_load(lab.cluster.kubeconfig.read_text())
    token = lab.kubectl("create", "token", name, "-n", namespace).strip()
    config["users"] = [{"name": name, "user": {"token": token}}]
    for context in config["contexts"]:
        context["context"] |= {"user": name, "namespace": namespace}
    kubeconfig = path.parent / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    kubeconfig.chmod(0o600)
    return Laptop(path, kubeconfig)


def test_kubectl_finds_the_command(administrator: Laptop, shop: str) -> None:
    done = administrator.run("kubectl", "innervate", "get", "-A")
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if shop in line and "support" in line]
    assert "MemoryStore" in row
    assert "True" in row


def test_a_misspelt_field_is_found_before_anything_is_applied(developer: Laptop, tmp_path: Path) -> None:
    manifest = tmp_path / "store.yaml"
    manifest.write_text(yaml.safe_dump(store("typo", "ignored", storage={"redis": {"sise": "8Gi"}})))
    done = developer.run("kubectl", "innervate", "plan", "-f", str(manifest))
    assert done.returncode == 1
    assert "spec.storage.redis.sise" in done.stderr
    assert "did you mean size?" in done.stderr


def test_the_role_edit_is_enough_for_everyday_work(developer: Laptop, shop: str, tmp_path: Path) -> None:
    manifest = tmp_path / "store.yaml"
    manifest.write_text(yaml.safe_dump(store("daily", shop, reclaimPolicy="Delete", service={"replicas": 1})))
    for arguments in (
        ("apply", "-f", str(manifest)),
        ("plan", "--diff", "-f", str(manifest)),
        ("get",),
        ("get", "memorystore", "daily", "--tree"),
        ("memory", "put", "daily", "The parrot speaks Latin."),
    ):
        done = developer.run("kubectl", "innervate", *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    done = developer.run("innervate", "memory", "search", "daily", "parrot", "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["record"]["text"] == "The parrot speaks Latin."
    assert developer.run("kubectl", "delete", "memorystore", "daily", "--wait=false").returncode == 0


def test_the_documented_rights_are_enough_to_remember_and_recall(reader: Laptop) -> None:
    account = ("--as", "agent", "--space", "agent/laptop")
    put = reader.run("innervate", "memory", "put", "support", "The ladder is in the yard.", *account)
    assert put.returncode == 0, put.stderr
    done = reader.run("innervate", "memory", "search", "support", "ladder", *account)
    assert done.returncode == 0, done.stderr
    assert "The ladder is in the yard." in done.stdout
    assert reader.run("kubectl", "innervate", "get", "memorystore").returncode == 4


def test_what_the_role_edit_does_not_allow_is_told(developer: Laptop) -> None:
    done = developer.run("innervate", "memory", "search", "elsewhere", "anything", "-n", "default")
    assert done.returncode == 4, done.stderr
    assert "forbidden" in done.stderr
    assert "Traceback" not in done.stderr
