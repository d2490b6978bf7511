"""A namespace and a MemoryStore that the memory tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Lab


def store(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    """Manifest of a MemoryStore."""
    return {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "MemoryStore",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@pytest.fixture(scope="session")
def shop(lab: Lab) -> Iterator[str]:
    """Namespace with a store named `support`, Ready, and two accounts."""
    with lab.namespace("shop") as namespace:
        accounts = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
            for name in ("agent", "stranger")
        ]
        lab.apply(*accounts, store("support", namespace, reclaimPolicy="Delete"))
        lab.ready("memorystore", "support", namespace)
        yield namespace
