"""An unchanged cluster is left in peace, and one replica writes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import OPERATOR, SYSTEM, store

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

RESYNC_S = 5
QUIET_S = float(os.environ.get("INNERVATE_QUIET_SECONDS", "60"))
"""A dozen resyncs: what would be written at all would be written in the first."""


@pytest.mark.usefixtures("shop")
@pytest.mark.timeout(300 + QUIET_S)
def test_a_restart_and_many_resyncs_write_nothing(lab: Lab) -> None:
    lab.kubectl(
        "set", "env", "-n", SYSTEM, "deployment/innervate-operator", f"INNERVATE_RESYNC_SECONDS={RESYNC_S}"
    )
    try:
        lab.kubectl("rollout", "status", "-n", SYSTEM, "deployment/innervate-operator", "--timeout=90s")
        lab.sleep(20)  # counts of earlier tests' records may still be due
        before = lab.operator_writes()
        lab.kubectl("rollout", "restart", "-n", SYSTEM, "deployment/innervate-operator")
        lab.kubectl("rollout", "status", "-n", SYSTEM, "deployment/innervate-operator", "--timeout=90s")
        lab.sleep(QUIET_S)
        assert lab.operator_writes()[len(before) :] == []
    finally:
        lab.kubectl("set", "env", "-n", SYSTEM, "deployment/innervate-operator", "INNERVATE_RESYNC_SECONDS-")
        lab.kubectl("rollout", "status", "-n", SYSTEM, "deployment/innervate-operator", "--timeout=90s")


def leader(lab: Lab) -> str:
    """Pod that holds the Lease; empty while none that stays does."""
    lease = json.loads(lab.kubectl("get", "lease", "innervate-operator", "-n", SYSTEM, "-o", "json"))
    holder = (lease["spec"].get("holderIdentity") or "").rpartition("_")[0]
    return holder if holder in {pod["metadata"]["name"] for pod in lab.pods(SYSTEM, OPERATOR)} else ""


def test_a_killed_leader_is_followed_by_the_standby(lab: Lab) -> None:
    first = lab.eventually(lambda: leader(lab))
    lab.kubectl("delete", "pod", first, "-n", SYSTEM, "--grace-period=0", "--force")
    lab.eventually(lambda: leader(lab) not in ("", first))
    with lab.namespace("takeover") as namespace:
        lab.apply(store("after", namespace))
        lab.eventually(lambda: lab.read("deployment", "after-memorystore", namespace))


def test_our_kinds_are_listed_together_and_explain_themselves(lab: Lab, shop: str) -> None:
    listed = lab.kubectl("get", "innervate", "-A")
    assert "memorystore.innervate.dev/support" in listed
    assert shop in listed
    explained = lab.kubectl("explain", "memorystore.spec", "--recursive")
    for field in ("reclaimPolicy", "durability", "maxRecordsPerSpace", "defaultTTLSeconds", "computePoolRef"):
        assert field in explained
    assert "acknowledged" in lab.kubectl("explain", "memorystore.spec.storage.redis.durability")
