"""A volume grows where its storage class lets it, and where it does not the store says so and works on."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from innervate_local.errors import LocalError

from tests.e2e.lab import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e


@pytest.fixture
def growing(lab: Lab) -> Iterator[str]:
    """Storage class like the default one, whose volumes may grow."""
    name = f"growing-{uuid.uuid4().hex[:6]}"
    lab.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "rancher.io/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": True,
        }
    )
    yield name
    lab.kubectl("delete", "storageclass", name)


def sized(namespace: str, size: str, storage_class: str | None = None) -> dict[str, Any]:
    redis = {"size": size} | ({"storageClassName": storage_class} if storage_class else {})
    return store(
        "cellar", namespace, reclaimPolicy="Delete", service={"replicas": 1}, storage={"redis": redis}
    )


def requested(lab: Lab, namespace: str) -> str:
    claim = lab.read("pvc", "cellar-memorystore-data", namespace)
    assert claim is not None
    size: str = claim["spec"]["resources"]["requests"]["storage"]
    return size


def test_a_volume_grows_where_its_class_allows(lab: Lab, growing: str) -> None:
    with lab.namespace("growth") as namespace:
        lab.apply(sized(namespace, "1Gi", growing))
        lab.ready("memorystore", "cellar", namespace)
        lab.apply(sized(namespace, "2Gi", growing))
        lab.eventually(lambda: requested(lab, namespace) == "2Gi")
        lab.ready("memorystore", "cellar", namespace)
        assert not lab.condition("memorystore", "cellar", "Stalled", namespace)
        with pytest.raises(LocalError, match="may grow but never shrink"):
            lab.apply(sized(namespace, "1Gi", growing))


def test_a_volume_that_cannot_grow_is_told_and_used_as_it_is(lab: Lab) -> None:
    with lab.namespace("growth") as namespace:
        lab.apply(sized(namespace, "1Gi"))
        lab.ready("memorystore", "cellar", namespace)
        lab.apply(sized(namespace, "2Gi"))
        message = lab.told("cellar", namespace, "VolumeNotExpandable", type_="Stalled")
        assert "spec.storage.redis.size" in message
        assert "allowVolumeExpansion" in message
        lab.ready("memorystore", "cellar", namespace)
        assert requested(lab, namespace) == "1Gi"
        with lab.memory("cellar", namespace) as memory:
            memory.put("There is room enough.")
