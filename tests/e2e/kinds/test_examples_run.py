"""Every example becomes Ready on a real cluster, as a reader of the docs would apply it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[3] / "deploy/examples"


def example(kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    manifest = yaml.safe_load((EXAMPLES / kind / f"{name}.yaml").read_text())
    if namespace:
        manifest["metadata"]["namespace"] = namespace
    return manifest


@pytest.fixture(scope="module")
def pools(lab: Lab) -> Iterator[None]:
    """The example pools."""
    manifests = [example("computepool", name) for name in ("minimal", "typical", "full")]
    lab.apply(*manifests)
    yield
    for manifest in manifests:
        lab.kubectl("delete", "computepool", manifest["metadata"]["name"])


@pytest.mark.parametrize("name", ["minimal", "typical", "full"])
def test_a_store_becomes_ready_and_remembers(lab: Lab, pools: None, name: str) -> None:
    del pools
    with lab.namespace("examples") as namespace:
        manifest = example("memorystore", name, namespace)
        account = "support-agent" if name == "typical" else "default"
        space = {"typical": "support", "full": "concierge"}.get(name, "")
        if account != "default":
            metadata = {"name": account, "namespace": namespace}
            lab.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        lab.apply(manifest)
        store = manifest["metadata"]["name"]
        lab.ready("memorystore", store, namespace)
        with lab.memory(store, namespace, account) as memory:
            memory.put("The kettle is blue.", space=space)
            assert memory.search("kettle", space=space)[0].record.text == "The kettle is blue."


def test_an_external_redis_that_does_not_answer_is_told(lab: Lab) -> None:
    """The Secret of the example, with a URL that leads nowhere."""
    with lab.namespace("examples") as namespace:
        url = "rediss://user:password@localhost:6380/0"
        secret = ("create", "secret", "generic", "shared-redis", f"--from-literal=url={url}")
        lab.kubectl(*secret, "--namespace", namespace)
        lab.apply(example("memorystore", "external", namespace))
        lab.eventually(
            lambda: (
                lab.condition("memorystore", "shared", "StorageReady", namespace).get("reason")
                == "RedisFailing"
            ),
            seconds=90,
        )


def test_pools_count_the_cluster_as_it_is(lab: Lab, pools: None) -> None:
    del pools
    lab.ready("computepool", "general")
    general = lab.read("computepool", "general")
    assert general is not None
    assert general["status"]["readyNodes"] == 2
    lab.ready("computepool", "edge")
    edge = lab.read("computepool", "edge")
    assert edge is not None
    assert edge["status"]["readyNodes"] == 1
    lab.eventually(lambda: lab.condition("computepool", "gpu", "Ready").get("reason") == "NoNodes")
