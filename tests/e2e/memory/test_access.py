"""Nobody gets in where they don't belong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from innervate import PermissionDenied, Unauthenticated

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e


def test_a_space_belongs_to_its_account(lab: Lab, shop: str) -> None:
    with lab.memory("support", shop, "agent") as agent, lab.memory("support", shop, "stranger") as stranger:
        agent.put("The safe opens with 4711.", space="agent")
        with pytest.raises(PermissionDenied) as refused:
            stranger.search("safe", space="agent")
        assert "stranger" in str(refused.value)
        assert "4711" not in str(refused.value)
        with pytest.raises(PermissionDenied):
            stranger.put("mine now", space="agent")
        assert stranger.search("safe") == ()


def test_a_token_for_another_audience_is_refused(lab: Lab, shop: str) -> None:
    from innervate import MemoryClient  # noqa: PLC0415  only this test connects by itself

    ca = lab.kubectl(
        "get", "configmap", "support-memorystore-trust", "-n", shop, "-o", r"jsonpath={.data.ca\.crt}"
    )
    token = lab.kubectl("create", "token", "agent", "-n", shop).strip()
    with (
        lab.forward(shop, "support-memorystore", 7443) as forward,
        MemoryClient.connect(
            f"grpcs://127.0.0.1:{forward.port}",
            ca=ca.encode(),
            token=lambda: token,
            server_name=f"support-memorystore.{shop}.svc",
        ) as client,
        pytest.raises(Unauthenticated),
    ):
        client.search("anything")


def connects(lab: Lab, namespace: str, target: str, labels: dict[str, str] | None = None) -> bool:
    """Whether a TCP connection from a new pod of the namespace succeeds, by the pod's exit code."""
    host, _, port = target.rpartition(":")
    program = f"import socket; socket.create_connection(({host!r}, {port}), timeout=3)"
    pod = lab.run_pod(namespace, program, labels=labels or {})
    return pod["status"]["phase"] == "Succeeded"


def test_networks_are_closed_but_for_those_who_belong(lab: Lab, shop: str) -> None:
    service = f"support-memorystore.{shop}.svc:7443"
    redis = lab.pods(shop, "app.kubernetes.io/component=redis")[0]["status"]["podIP"]
    with lab.namespace("elsewhere") as elsewhere:
        assert connects(lab, shop, service)
        assert not connects(lab, elsewhere, service)
        assert not connects(lab, shop, f"{redis}:6379")
