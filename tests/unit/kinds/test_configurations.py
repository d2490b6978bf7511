"""The programs in the pods accept what is planned for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from innervate_kinds.api.kind import CONFIG_MAP, DEPLOYMENT, STATEFUL_SET
from innervate_kinds.memory_store import room
from innervate_kinds.memory_store.model import MemoryStore
from innervate_memory.config import MemoryConfig
from innervate_operator.identity.issue import allowed_name
from innervate_service.identity import agent
from kinds_cluster import CONFIG, Cluster

EXAMPLES = Path(__file__).parents[3] / "deploy/examples"
POOL = yaml.safe_load((EXAMPLES / "computepool/minimal.yaml").read_text())


def manifests(name: str) -> list[dict[str, Any]]:
    manifest = yaml.safe_load((EXAMPLES / f"memorystore/{name}.yaml").read_text())
    manifest["metadata"] |= {"namespace": "shop", "uid": "u"}
    store = MemoryStore.model_validate(manifest)
    observed = room.observe(store, Cluster([POOL]), {})
    return [
        child.manifest for child in room.plan(store, observed, CONFIG, datetime(2026, 1, 1, tzinfo=UTC)).apply
    ]


def service_config(name: str) -> MemoryConfig:
    return MemoryConfig.model_validate_json(
        next(
            manifest["data"]["config.json"]
            for manifest in manifests(name)
            if manifest["kind"] == CONFIG_MAP.kind and "config.json" in manifest["data"]
        )
    )


@pytest.mark.parametrize("name", ["minimal", "typical", "full", "external"])
def test_the_memory_service_reads_its_configuration(name: str) -> None:
    config = service_config(name)
    assert config.store.namespace == "shop"
    assert config.service.identity is not None
    assert f"{config.store.name}-memorystore.shop.svc" in config.service.identity.dns_names
    assert all(subject.namespace for rule in config.access for subject in rule.service_accounts)


def test_the_full_example_reaches_the_service() -> None:
    config = service_config("full")
    assert config.durability == "EverySecond"
    assert config.max_records_per_space == 50000
    assert config.retention.default_ttl_seconds == 7776000
    assert config.retention.forget is not None
    assert config.retention.forget.keep_newest == 100


def test_certificates_are_asked_for_names_that_the_authority_grants() -> None:
    for manifest in manifests("minimal"):
        pod = manifest.get("spec", {}).get("template", {}).get("spec")
        if pod is None:
            continue
        if "initContainers" in pod:
            names = agent.parse(pod["initContainers"][0]["args"]).dns_names
        else:
            names = service_config("minimal").service.identity.dns_names
        for name in names:
            assert allowed_name(
                name, service=pod["serviceAccountName"], namespace="shop", cluster_domain="cluster.local"
            ), name


def test_the_agent_beside_redis_reads_its_flags() -> None:
    pod = next(each for each in manifests("minimal") if each["kind"] == STATEFUL_SET.kind)
    container = pod["spec"]["template"]["spec"]["initContainers"][0]
    arguments = agent.parse(container["args"])
    assert arguments.endpoint == CONFIG.identity_endpoint
    assert "assistant-memorystore-redis.shop.svc" in arguments.dns_names
    assert arguments.reload_redis == "localhost:6379"
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(arguments.directory) in mounts
    assert str(arguments.token_file.parent) in mounts
    assert str(arguments.trust_directory) in mounts
    assert str(arguments.password_file.parent) in mounts


def test_the_service_pod_mounts_what_its_configuration_names() -> None:
    pod = next(each for each in manifests("minimal") if each["kind"] == DEPLOYMENT.kind)
    mounts = {
        mount["mountPath"] for mount in pod["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    paths = service_config("minimal")
    directories = paths.service.paths
    assert str(directories.trust_directory) in mounts
    assert str(directories.token_file.parent) in mounts
    assert str(directories.identity_directory) in mounts
    assert paths.redis.password_file is not None
    assert str(paths.redis.password_file.parent) in mounts


def test_a_changed_configuration_rolls_the_pods_and_trust_does_not() -> None:
    def hashes(name: str) -> set[str]:
        return {
            each["spec"]["template"]["metadata"]["annotations"]["innervate.dev/config-hash"]
            for each in manifests(name)
            if "template" in each.get("spec", {})
        }

    assert hashes("minimal") == hashes("minimal")
    assert hashes("minimal").isdisjoint(hashes("typical"))
    assert CONFIG.trust.ca_bundle not in str(
        [each for each in manifests("minimal") if "template" in each.get("spec", {})]
    )
