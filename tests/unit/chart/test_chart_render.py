"""The chart renders, with every kind of values, to what Kubernetes takes and we promise."""

from __future__ import annotations

import json

import pytest
import yaml

EVERYTHING = {
    "replicas": 3,
    "image": {
        "registry": "registry.example.com/ai",
        "tag": "9.9.9",
        "pullPolicy": "Always",
        "pullSecrets": ["pull-one", "pull-two"],
    },
    "images": {"memory": "mirror.example.com/memory@sha256:" + "0" * 64},
    "trustDomain": "example.com",
    "telemetry": {"otlpEndpoint": "http://collector.observability.svc:14317"},
    "log": {"level": "debug", "format": "text"},
    "reconcile": {"workers": 4, "resyncSeconds": 30},
    "serviceAccount": {"name": "nerve", "annotations": {"example.com/role": "nerve"}},
    "networkPolicy": {
        "apiServer": {"cidrs": ["192.0.2.0/24"], "ports": [8443]},
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}],
    },
    "resources": {"requests": {"cpu": "1", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "control", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [
        {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["x"]}
    ],
    "podAnnotations": {"example.com/note": "1"},
    "podLabels": {"example.com/cost": "platform"},
    "priorityClassName": "system-cluster-critical",
    "extraEnv": [
        {"name": "EXTRA", "valueFrom": {"configMapKeyRef": {"name": "extra", "key": "extra"}}},
    ],
}
MATRIX = {
    "default": {},
    "namespaced": {"watchNamespaces": ["shop", "lab"], "rbac": {"aggregate": False}},
    "everything": EVERYTHING,
    "alone": {"replicas": 1, "crds": {"install": False}, "networkPolicy": {"enabled": False}},
    "bring-your-own": {
        "serviceAccount": {"create": False, "name": "mine"},
        "rbac": {"create": False, "aggregate": False},
        "uninstallGuard": {"enabled": False},
    },
}
MATRIX_IDS = pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX.keys())


def only(manifests, kind, name=None):
    found = [
        each
        for each in manifests
        if each["kind"] == kind and (name is None or each["metadata"]["name"] == name)
    ]
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]


def pod_templates(manifests):
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest["metadata"]["name"], manifest["spec"]
        elif manifest["kind"] in {"Deployment", "Job", "StatefulSet", "DaemonSet"}:
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


@MATRIX_IDS
def test_lints_without_a_warning(helm, values):
    linted = helm("lint", values, "--strict")
    assert linted.returncode == 0, linted.stdout + linted.stderr
    assert "[WARNING]" not in linted.stdout


@MATRIX_IDS
def test_every_object_is_named_once_and_placed(render, values):
    manifests = render(values)
    names = [
        (each["apiVersion"], each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in manifests
    ]
    assert len(names) == len(set(names))
    cluster_scoped = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    for manifest in manifests:
        placed = "namespace" in manifest["metadata"]
        assert placed == (manifest["kind"] not in cluster_scoped), manifest["metadata"]["name"]
        assert manifest["metadata"]["labels"]["app.kubernetes.io/part-of"] == "innervate"


@MATRIX_IDS
def test_pods_keep_to_the_restricted_standard_and_more(render, values):
    templates = dict(pod_templates(render(values)))
    assert "innervate-operator" in templates
    for name, pod in templates.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        allowed = {"projected", "emptyDir", "configMap", "secret"}
        assert all(volume.keys() - {"name"} <= allowed for volume in pod.get("volumes", [])), name
        assert "automountServiceAccountToken" in pod, name
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert not any("hostPort" in port for port in container.get("ports", [])), name
            assert container["resources"]["requests"], name
            assert container["resources"]["limits"]["memory"], name


def test_crds_are_the_generated_ones_and_kept(render, chart):
    generated = {
        crd["metadata"]["name"]: crd
        for crd in map(yaml.safe_load, (path.read_text() for path in chart.glob("files/crds/*.yaml")))
    }
    assert {"computepools.innervate.dev", "memorystores.innervate.dev"} <= generated.keys()
    installed = {
        each["metadata"]["name"]: each for each in render() if each["kind"] == "CustomResourceDefinition"
    }
    assert installed.keys() == generated.keys()
    for name, crd in installed.items():
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert crd["spec"] == generated[name]["spec"]


def test_replicas_are_spread_and_protected(render):
    manifests = render()
    deployment = only(manifests, "Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert deployment["spec"]["replicas"] == 2
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    budget = only(manifests, "PodDisruptionBudget")
    assert budget["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector},
    }
    assert not [each for each in render({"replicas": 1}) if each["kind"] == "PodDisruptionBudget"]


def test_the_identity_service_leads_to_the_operator(render):
    manifests = render()
    service = only(manifests, "Service", "innervate-identity")
    deployment = only(manifests, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    ports = {
        port["name"]: port["containerPort"]
        for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert ports == {"identity": 7443, "metrics": 9464, "health": 8081}
    assert [(port["port"], ports[port["targetPort"]]) for port in service["spec"]["ports"]] == [(7443, 7443)]


def test_overrides_reach_the_operator_and_what_it_starts(render):
    manifests = render(EVERYTHING)
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    environment = {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}
    assert container["image"] == "registry.example.com/ai/innervate/operator:9.9.9"
    assert container["imagePullPolicy"] == "Always"
    assert pod["imagePullSecrets"] == [{"name": "pull-one"}, {"name": "pull-two"}]
    assert environment["INNERVATE_REGISTRY"] == "registry.example.com/ai/"
    assert json.loads(environment["INNERVATE_IMAGES"]) == EVERYTHING["images"]
    assert environment["INNERVATE_OTLP_ENDPOINT"] == EVERYTHING["telemetry"]["otlpEndpoint"]
    assert environment["EXTRA"] == EVERYTHING["extraEnv"][0]["valueFrom"]
    assert pod["serviceAccountName"] == "nerve"
    for key in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"):
        assert pod[key] == EVERYTHING[key]
    assert container["resources"] == EVERYTHING["resources"]


def test_image_override_of_the_operator_itself(render):
    image = "registry.example.com/own@sha256:" + "a" * 64
    for name, pod in pod_templates(render({"images": {"operator": image}})):
        if name in {"innervate-operator", "innervate-uninstall-guard"}:
            assert pod["containers"][0]["image"] == image


def test_network_policy_opens_what_is_needed_only(render):
    policy = only(render(EVERYTHING), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["ingress"]] == [[7443], [9464]]
    assert policy["ingress"][1]["from"] == EVERYTHING["networkPolicy"]["metricsFrom"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [
        [53, 53],
        [8443],
        [7443, 8081],
        [14317],
    ]
    assert policy["egress"][1]["to"] == [{"ipBlock": {"cidr": "192.0.2.0/24"}}]


@pytest.mark.parametrize(
    ("endpoint", "port"), [("http://collector.a.svc", 4317), ("https://[2001:db8::1]:9000", 9000)]
)
def test_telemetry_port_is_the_endpoints(render, endpoint, port):
    policy = only(render({"telemetry": {"otlpEndpoint": endpoint}}), "NetworkPolicy")["spec"]
    assert policy["egress"][-1] == {"ports": [{"port": port}]}


def test_a_kubernetes_that_is_too_old_is_named(helm):
    refused = helm("template", {}, "--kube-version=1.29.9")
    assert refused.returncode != 0
    assert ">=1.30.0-0" in refused.stderr
    assert "1.29.9" in refused.stderr
