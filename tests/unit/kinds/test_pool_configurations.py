"""The programs in a pool's pods accept what is planned for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from innervate_gateway.config import GatewayConfig
from innervate_gateway.pool import (
    LABEL_COST,
    LABEL_RELEASE,
    LABEL_VARIANT,
    read_pool,
    replicas_of,
)
from innervate_kinds.api.kind import CONFIG_MAP, DEPLOYMENT, ROLE, SERVICE
from innervate_kinds.inference_pool import names
from innervate_kinds.inference_pool.model import InferencePool
from innervate_kinds.inference_pool.room import ROOM
from innervate_operator.identity.issue import allowed_name
from innervate_releases.__main__ import _parser
from kinds_cluster import CONFIG, Cluster, model_release

EXAMPLES = Path(__file__).parents[3] / "deploy/examples"
COMPUTE_POOL = yaml.safe_load((EXAMPLES / "computepool/minimal.yaml").read_text())
NAMES = ["minimal", "typical", "full", "external"]


def example(name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((EXAMPLES / f"inferencepool/{name}.yaml").read_text())
    manifest["metadata"] |= {"namespace": "shop", "uid": "u"}
    return manifest


def manifests(name: str, **spec: Any) -> list[dict[str, Any]]:
    document = example(name)
    document["spec"] |= spec
    pool = InferencePool.model_validate(document)
    releases = [model_release(arm.release_ref.name, "shop") for arm in pool.arms()]
    observed = ROOM.observe(pool, Cluster([COMPUTE_POOL, *releases]), {})
    plan = ROOM.plan(pool, observed, CONFIG, datetime(2026, 1, 1, tzinfo=UTC))
    return [child.manifest for child in plan.apply]


def gateway_config(name: str) -> GatewayConfig:
    return GatewayConfig.model_validate_json(
        next(
            manifest["data"]["config.json"]
            for manifest in manifests(name)
            if manifest["kind"] == CONFIG_MAP.kind and "config.json" in manifest["data"]
        )
    )


def pods(name: str, component: str) -> list[dict[str, Any]]:
    return [
        manifest["spec"]["template"]["spec"]
        for manifest in manifests(name)
        if manifest["kind"] == DEPLOYMENT.kind
        and manifest["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_gateway_reads_its_configuration(name: str) -> None:
    config = gateway_config(name)
    pool = example(name)["metadata"]["name"]
    assert (config.pool.namespace, config.pool.name) == ("shop", pool)
    assert config.service.identity is not None
    assert f"{pool}-inferencepool.shop.svc" in config.service.identity.dns_names
    assert all(subject.namespace for rule in config.access for subject in rule.service_accounts)


def test_the_full_example_reaches_the_gateway() -> None:
    config = gateway_config("full")
    assert config.admission.max_concurrent == 32
    assert config.admission.max_queue == 64
    assert config.admission.deadline_seconds == 30
    assert config.exchange_log.retention_seconds == 604800
    assert config.exchange_log.content == "Digest"


@pytest.mark.parametrize("name", NAMES)
def test_certificates_are_asked_for_names_that_the_authority_grants(name: str) -> None:
    identity = gateway_config(name).service.identity
    assert identity is not None
    (pod,) = pods(name, "gateway")
    for each in identity.dns_names:
        assert allowed_name(
            each, service=pod["serviceAccountName"], namespace="shop", cluster_domain="cluster.local"
        ), each


@pytest.mark.parametrize("name", NAMES)
def test_the_gateway_pod_mounts_what_its_configuration_names(name: str) -> None:
    config = gateway_config(name)
    (pod,) = pods(name, "gateway")
    mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    paths = config.service.paths
    files = [
        config.engine_key_file,
        config.redis.password_file,
        config.kubernetes.token_file,
        config.kubernetes.ca_file,
        paths.token_file,
    ]
    for file in files:
        assert file is not None
        assert str(file.parent) in mounts
    assert str(paths.trust_directory) in mounts
    assert str(paths.identity_directory) in mounts
    assert (str(config.external_key_directory) in mounts) == (name == "external")


@pytest.mark.parametrize("name", NAMES)
def test_what_was_begun_ends_before_the_pods_do(name: str) -> None:
    drain = gateway_config(name).service.drain
    deadline = gateway_config(name).admission.deadline_seconds
    assert drain.grace_seconds >= deadline
    (gateway,) = pods(name, "gateway")
    assert gateway["terminationGracePeriodSeconds"] > drain.delay_seconds + drain.grace_seconds
    for engine in pods(name, "engine"):
        assert engine["terminationGracePeriodSeconds"] > deadline


def test_the_gateway_understands_every_example() -> None:
    for name in NAMES:
        document = example(name)
        document["metadata"]["generation"] = 3
        pool = read_pool(document)
        ours = InferencePool.model_validate(document)
        assert pool.generation == 3
        assert pool.model == ours.spec.model.name
        assert [(arm.name, arm.release, arm.weight) for arm in pool.arms] == (
            [(arm.name, arm.release_ref.name, arm.weight) for arm in ours.arms()] or [("stable", "", 100)]
        )


def test_the_gateway_finds_engines_by_the_labels_of_their_services() -> None:
    assert (LABEL_VARIANT, LABEL_RELEASE, LABEL_COST) == (names.VARIANT, names.RELEASE, names.COST)
    document = example("full")
    services = [
        manifest
        for manifest in manifests("full")
        if manifest["kind"] == SERVICE.kind and names.RELEASE in manifest["metadata"]["labels"]
    ]
    slices = [
        {
            # As the EndpointSlice controller copies them.
            "metadata": {"labels": service["metadata"]["labels"]},
            "ports": [{"name": port["name"], "port": port["port"]} for port in service["spec"]["ports"]],
            "endpoints": [{"addresses": [f"10.0.0.{index}"], "conditions": {"ready": True}}],
        }
        for index, service in enumerate(services)
    ]
    found = replicas_of(read_pool(document), slices)
    assert {(replica.variant, replica.release) for replica in found} == {
        ("small", "concierge-1"),
        ("small", "concierge-2"),
    }
    assert {replica.port for replica in found} == {names.ENGINE_PORT}
    assert {replica.cost_per_hour for replica in found} == {COMPUTE_POOL["spec"].get("costPerHour", "0")}
    assert all(service["metadata"]["labels"]["innervate.dev/owner-uid"] == "u" for service in services)


def test_the_fetching_container_is_understood() -> None:
    for pod in pods("typical", "engine"):
        (container,) = pod["initContainers"]
        module, command = container["command"][2:]
        assert module == "innervate_releases"
        arguments = _parser().parse_args([command, *container["args"]])
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        assert str(arguments.into) in mounts
        assert str(arguments.keys) in mounts
        model = pod["containers"][0]["args"][1]
        assert model == f"{arguments.into}/{arguments.file[0]}"


def test_a_gateway_may_read_its_own_pool_only() -> None:
    (role,) = [manifest for manifest in manifests("minimal") if manifest["kind"] == ROLE.kind]
    pools, slices = role["rules"]
    assert pools["resources"] == ["inferencepools"]
    assert pools["resourceNames"] == ["assistant"]
    assert slices["resources"] == ["endpointslices"]
    verbs = {verb for rule in role["rules"] for verb in rule["verbs"]}
    assert verbs == {"get", "list", "watch"}


def test_changed_traffic_rolls_no_pod_that_stays() -> None:
    def templates(**spec: Any) -> dict[str, Any]:
        return {
            manifest["metadata"]["name"]: manifest["spec"]["template"]
            for manifest in manifests("minimal", **spec)
            if "template" in manifest.get("spec", {})
        }

    arms = [
        {"name": "s", "releaseRef": {"name": "assistant-1"}, "weight": 90, "role": "Stable"},
        {"name": "c", "releaseRef": {"name": "assistant-2"}, "weight": 10, "role": "Candidate"},
    ]
    before, after = templates(), templates(traffic=arms)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
