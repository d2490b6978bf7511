"""Whatever is killed or cut while clients write: nothing acknowledged is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import store
from tests.e2e.memory.writer import Writer, check

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

CUT_S = 8
"""Long enough for connections to stall, short enough for no eviction."""

pytestmark = [pytest.mark.e2e, pytest.mark.faults]


@pytest.fixture(scope="module")
def field(lab: Lab) -> Iterator[str]:
    """Namespace with a store named `log` for this module."""
    with lab.namespace("faults") as namespace:
        lab.apply(store("log", namespace, reclaimPolicy="Delete"))
        lab.ready("memorystore", "log", namespace)
        yield namespace


@pytest.mark.parametrize("component", ["redis", "service"])
def test_killed_pods_lose_nothing(lab: Lab, field: str, component: str) -> None:
    with lab.memory("log", field) as memory:
        with Writer(memory, f"default/{component}") as writer:
            for _ in range(2):
                writer.advance()
                lab.kill_pods(field, f"app.kubernetes.io/component={component}")
                writer.advance(seconds=90)
        check(writer, memory, f"default/{component}")
    lab.ready("memorystore", "log", field)


def test_a_killed_operator_is_not_missed(lab: Lab, field: str) -> None:
    with lab.memory("log", field) as memory:
        with Writer(memory, "default/operator") as writer:
            writer.advance()
            lab.kill_pods("innervate-system", "app.kubernetes.io/component=operator")
            writer.advance()
            lab.kubectl(
                "rollout",
                "status",
                "-n",
                "innervate-system",
                "deployment/innervate-operator",
                "--timeout=90s",
            )
        check(writer, memory, "default/operator")
    lab.apply(store("log", field, reclaimPolicy="Delete", service={"replicas": 1}))
    lab.ready("memorystore", "log", field)
    lab.apply(store("log", field, reclaimPolicy="Delete", service={"replicas": 2}))
    lab.ready("memorystore", "log", field)


def test_operators_killed_at_the_start_of_a_life_are_not_missed(lab: Lab, field: str) -> None:
    lab.apply(store("orphan", field, reclaimPolicy="Delete", service={"replicas": 1}))
    lab.eventually(lambda: lab.read("serviceaccount", "orphan-memorystore-redis", field))
    lab.kill_pods("innervate-system", "app.kubernetes.io/component=operator")
    lab.ready("memorystore", "orphan", field)
    with lab.memory("orphan", field) as memory:
        memory.put("Somebody came back.")
        assert len(memory.search("somebody")) == 1
    lab.kubectl("delete", "memorystore", "orphan", "-n", field)


def test_a_node_cut_off_and_joined_again_loses_nothing(lab: Lab, field: str) -> None:
    with lab.memory("log", field) as memory:
        with Writer(memory, "default/edge") as writer:
            writer.advance()
            lab.cluster.cut_edge()
            try:
                lab.sleep(CUT_S)
            finally:
                lab.cluster.heal_edge()
            writer.advance(seconds=120)
        check(writer, memory, "default/edge")
    lab.ready("memorystore", "log", field)
