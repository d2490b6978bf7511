"""An image that cannot be pulled is named, and what runs goes on."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import SYSTEM, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

CHART = Path(__file__).parents[3] / "charts/innervate"
NOWHERE = "nowhere.invalid/memory:1"


@contextmanager
def image_of_memory(lab: Lab, image: str) -> Iterator[None]:
    """Have the operator use another image for memory services."""
    wait = ("--namespace", SYSTEM, "--wait", "--timeout", "120s")
    lab.helm("upgrade", "innervate", str(CHART), *wait, "--reuse-values", "--set", f"images.memory={image}")
    try:
        yield
    finally:
        lab.helm("rollback", "innervate", *wait)


def test_an_image_that_cannot_be_pulled_is_named_and_old_pods_go_on(lab: Lab) -> None:
    with lab.namespace("images") as namespace:
        lab.apply(store("old", namespace, reclaimPolicy="Delete"))
        lab.ready("memorystore", "old", namespace)
        with image_of_memory(lab, NOWHERE):
            lab.apply(store("new", namespace, reclaimPolicy="Delete"))
            assert NOWHERE in lab.told("new", namespace, "ImageNotPulled")
            # The running store cannot follow, says so, and loses none of its pods by it.
            assert NOWHERE in lab.told("old", namespace, "ImageNotPulled", type_="Reconciling")
            assert lab.condition("memorystore", "old", "Ready", namespace)["status"] == "True"
            deployment = lab.read("deployment", "old-memorystore", namespace)
            assert deployment is not None
            assert deployment["status"]["availableReplicas"] == 2
            with lab.memory("old", namespace) as memory:
                memory.put("The lamp stays on.")
                assert len(memory.search("lamp")) == 1
        for name in ("new", "old"):
            lab.ready("memorystore", name, namespace)
        assert not lab.condition("memorystore", "old", "Reconciling", namespace)
