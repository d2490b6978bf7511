"""A password that was changed or is gone: said plainly, and what the message says to do helps."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from innervate_local import binaries

from tests.e2e.lab import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

REDIS, SERVICE = "app.kubernetes.io/component=redis", "app.kubernetes.io/component=service"
SECRET = "vault-memorystore-redis"


@pytest.fixture(scope="module")
def vault(lab: Lab) -> Iterator[str]:
    """Namespace with a Ready store named `vault`, which holds one record."""
    with lab.namespace("vault") as namespace:
        lab.apply(store("vault", namespace, reclaimPolicy="Delete", service={"replicas": 1}))
        lab.ready("memorystore", "vault", namespace)
        with lab.memory("vault", namespace) as memory:
            memory.put("The code is in the drawer.")
        yield namespace


def do_as_told(lab: Lab, message: str) -> None:
    """Run the command between backticks, in a shell as a reader would."""
    found = re.search(r"`kubectl ([^`]+)`", message)
    assert found, message
    command = f"{binaries.path('kubernetes')} kubectl --kubeconfig {lab.cluster.kubeconfig} {found[1]}"
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)


def remembers(lab: Lab, namespace: str) -> None:
    lab.ready("memorystore", "vault", namespace)
    with lab.memory("vault", namespace) as memory:
        assert [record.text for record in memory.list()] == ["The code is in the drawer."]


def test_a_rotated_password_is_told_and_healed_as_told(lab: Lab, vault: str) -> None:
    change = '{"stringData": {"password": "from-now-on-another"}}'
    lab.kubectl("patch", "secret", SECRET, "-n", vault, "--type=merge", "--patch", change)
    # New pods have it at once; running ones would within the kubelet's minute.
    lab.kill_pods(vault, SERVICE)
    message = lab.told("vault", vault, "PasswordRefused")
    assert SECRET in message
    do_as_told(lab, message)
    remembers(lab, vault)


def test_a_deleted_password_is_told_and_healed_as_told(lab: Lab, vault: str) -> None:
    lab.kubectl("delete", "secret", SECRET, "-n", vault)
    for component in (REDIS, SERVICE):
        lab.kill_pods(vault, component)
    message = lab.told("vault", vault, "SecretMissing")
    assert SECRET in message
    do_as_told(lab, message)
    remembers(lab, vault)
