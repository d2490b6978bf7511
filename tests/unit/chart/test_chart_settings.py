"""What the chart hands to the operator is what the operator reads, and nothing is lost on the way."""

from __future__ import annotations

import pytest
import yaml
from innervate_kinds.compute_pool.model import ComputePool
from innervate_operator.settings import PREFIX, Settings, load

VALUES = {
    "image": {
        "registry": "registry.example.com/ai",
        "tag": "9.9.9",
        "pullPolicy": "Never",
        "pullSecrets": ["a", "b"],
    },
    "images": {"memory": "mirror.example.com/memory:1"},
    "watchNamespaces": ["shop", "lab"],
    "computePools": {
        "edge": {"class": "edge", "nodeSelector": {"innervate.dev/pool": "edge"}, "costPerHour": "0.10"}
    },
    "trustDomain": "example.com",
    "telemetry": {"otlpEndpoint": "http://collector.observability.svc:4317"},
    "log": {"level": "debug", "format": "text"},
    "reconcile": {"workers": 3, "resyncSeconds": 1000000 // 100},
    "serviceAccount": {"name": "nerve"},
}


def environment(manifests):
    deployment = next(each for each in manifests if each["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {
        each["name"]: each["value"] if "value" in each else each["valueFrom"]["fieldRef"]["fieldPath"]
        for each in container["env"]
    }


@pytest.mark.parametrize("values", [{}, VALUES], ids=["default", "everything"])
def test_every_variable_is_a_setting(render, values):
    names = {name.removeprefix(PREFIX).lower() for name in environment(render(values))}
    assert names <= Settings.model_fields.keys()


def test_defaults_agree(render):
    settings = load([], environment(render()) | {"INNERVATE_NAMESPACE": "innervate-system"})
    assert settings == Settings(namespace="innervate-system", pod_name="metadata.name")


def test_values_become_settings(render):
    settings = load([], environment(render(VALUES)))
    assert settings.registry == "registry.example.com/ai/"
    assert settings.version == "9.9.9"
    assert settings.image_pull_policy == "Never"
    assert settings.image_pull_secrets == ("a", "b")
    assert settings.images == VALUES["images"]
    assert settings.watch_namespaces == ("shop", "lab")
    assert settings.trust_domain == "example.com"
    assert settings.otlp_endpoint == VALUES["telemetry"]["otlpEndpoint"]
    assert (settings.log_level, settings.log_format) == ("debug", "text")
    assert (settings.workers, settings.resync_seconds) == (3, 10000)
    assert settings.service_account == "nerve"
    assert (settings.namespace, settings.pod_name) == ("metadata.namespace", "metadata.name")


def test_compute_pools_reach_the_operator_as_resources(render):
    manifests = render(VALUES)
    deployment = next(each for each in manifests if each["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    data = next(each for each in manifests if each["kind"] == "ConfigMap")
    mount = next(each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "compute-pools")
    volume = next(each for each in pod["volumes"] if each["name"] == "compute-pools")
    assert volume["configMap"]["name"] == data["metadata"]["name"]
    [file] = data["data"]
    assert str(load([], environment(manifests)).compute_pools) == f"{mount['mountPath']}/{file}"
    [pool] = [ComputePool.model_validate(each) for each in yaml.safe_load_all(data["data"][file]) if each]
    assert pool.metadata.name == "edge"
    assert pool.spec.node_selector == {"innervate.dev/pool": "edge"}


def test_compute_pools_are_refused_where_they_are_resources(helm):
    refused = helm("template", {"computePools": VALUES["computePools"]})
    assert refused.returncode != 0
    assert "watchNamespaces" in refused.stderr
