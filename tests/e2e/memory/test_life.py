"""The life of a MemoryStore on a real cluster, from apply to deletion."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from innervate import NewRecord

from tests.e2e.lab import store
from tests.e2e.memory.writer import Writer, check

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

CHILD_KINDS = (
    "serviceaccounts,configmaps,secrets,persistentvolumeclaims,services,deployments,statefulsets,"
    "poddisruptionbudgets,networkpolicies"
)


def test_a_store_becomes_ready_with_few_writes_and_answers(lab: Lab) -> None:
    with lab.namespace("life") as namespace:
        start = time.monotonic()
        lab.apply(store("notes", namespace))
        lab.ready("memorystore", "notes", namespace)
        print(f"\napply to Ready: {time.monotonic() - start:.1f} s")
        writes = lab.operator_writes(namespace)
        uid = lab.read("memorystore", "notes", namespace)["metadata"]["uid"]
        children = json.loads(
            lab.kubectl(
                *("get", CHILD_KINDS, "-n", namespace, "-o", "json"),
                *("-l", f"innervate.dev/owner-uid={uid}"),
            )
        )["items"]
        print(f"operator's writes: {len(writes)} for {len(children)} children")
        assert len(children) >= 10
        assert len(writes) <= len(children) + 3, writes
        with lab.memory("notes", namespace) as memory:
            memory.put(NewRecord(text="The archive key hangs behind the clock.", session_id="a"))
            memory.put(NewRecord(text="Lunch is at noon.", session_id="b"))
            hits = memory.search("Where is the key to the archive?", limit=1)
        assert [hit.record.text for hit in hits] == ["The archive key hangs behind the clock."]


def test_a_change_of_the_spec_rolls_without_losing_what_was_acknowledged(lab: Lab) -> None:
    with lab.namespace("change") as namespace:
        lab.apply(store("ledger", namespace))
        lab.ready("memorystore", "ledger", namespace)
        with lab.memory("ledger", namespace) as memory:
            with Writer(memory, "default") as writer:
                writer.advance()
                redis = {"memory": "320Mi", "durability": "EverySecond"}
                lab.apply(
                    store("ledger", namespace, service={"replicas": 3}, storage={"redis": redis}),
                )
                lab.ready("memorystore", "ledger", namespace)
                lab.kubectl(
                    "rollout", "status", "-n", namespace, "deployment/ledger-memorystore", "--timeout=120s"
                )
                writer.advance()
            check(writer, memory, "default")
            # A pod that drains still answers, with the settings it was started with.
            lab.eventually(lambda: memory.stats(space="default").durability == "EverySecond")
        assert len(lab.pods(namespace, "app.kubernetes.io/component=service")) == 3


def test_deletion_retains_the_data_and_a_new_store_takes_it_only_when_told(lab: Lab) -> None:
    with lab.namespace("retain") as namespace:
        lab.apply(store("keep", namespace))
        lab.ready("memorystore", "keep", namespace)
        with lab.memory("keep", namespace) as memory:
            memory.put("Do not forget me.")
        lab.kubectl("delete", "memorystore", "keep", "-n", namespace, "--timeout=60s")
        lab.eventually(lambda: lab.read("statefulset", "keep-memorystore-redis", namespace) is None)
        lab.eventually(lambda: not lab.pods(namespace, "app.kubernetes.io/part-of=innervate"))
        assert (
            lab.read("pvc", "keep-memorystore-data", namespace)["metadata"].get("deletionTimestamp") is None
        )

        lab.apply(store("keep", namespace))
        told = lab.eventually(
            lambda: (
                (found := lab.condition("memorystore", "keep", "Ready", namespace)).get("reason")
                == "RetainedData"
                and found
            )
        )
        assert "innervate.dev/adopt=true" in told["message"]
        lab.kubectl("annotate", "memorystore", "keep", "-n", namespace, "innervate.dev/adopt=true")
        lab.ready("memorystore", "keep", namespace)
        with lab.memory("keep", namespace) as memory:
            assert [record.text for record in memory.list()] == ["Do not forget me."]


def test_a_store_that_is_to_be_deleted_with_its_data_leaves_nothing(lab: Lab) -> None:
    with lab.namespace("delete") as namespace:
        lab.apply(store("gone", namespace, reclaimPolicy="Delete"))
        lab.ready("memorystore", "gone", namespace)
        lab.kubectl("delete", "memorystore", "gone", "-n", namespace, "--timeout=60s")
        lab.eventually(
            lambda: (
                lab.kubectl(
                    *("get", f"{CHILD_KINDS},pods", "-n", namespace, "-o", "name"),
                    *("-l", "app.kubernetes.io/part-of=innervate"),
                )
                == ""
            )
        )
