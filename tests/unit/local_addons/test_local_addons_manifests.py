import json

import yaml
from innervate_local import addons, images
from innervate_local.addons import scrape_targets

VALUES = {
    "image": images.BASE,
    "node": "core",
    "dns_address": "10.96.0.10",
    "storage_paths": json.dumps({"nodePathMap": [{"node": "core", "paths": ["/x/it''s"]}]}),
    "coredns": "/bin/coredns",
    "jaeger": "/bin/jaeger",
    "local_path_provisioner": "/bin/local-path-provisioner",
    "targets": "/targets",
    "prometheus": "/bin/prometheus",
}


def _objects():
    return [each for each in yaml.safe_load_all(addons.manifests(VALUES)) if each]


def _named(kind, name):
    return next(each for each in _objects() if (each["kind"], each["metadata"]["name"]) == (kind, name))


def test_every_workload_is_waited_for_and_needs_no_registry():
    workloads = [each for each in _objects() if each["kind"] == "Deployment"]
    assert len(workloads) == 4
    key, _, value = addons._PART_OF.partition("=")
    for each in workloads:
        assert each["metadata"]["labels"][key] == value
        for container in each["spec"]["template"]["spec"]["containers"]:
            assert container["image"] == images.BASE
            assert container["imagePullPolicy"] == "IfNotPresent"


def test_dns_is_where_every_kubelet_sends_its_pods():
    assert _named("Service", "kube-dns")["spec"]["clusterIP"] == VALUES["dns_address"]


def test_the_provisioner_reads_its_paths_and_scripts():
    data = _named("ConfigMap", "local-path-config")["data"]
    assert json.loads(data["config.json"])["nodePathMap"][0]["paths"] == ["/x/it's"]
    assert '"$VOL_DIR"' in data["setup"]
    assert yaml.safe_load(data["helperPod.yaml"])["spec"]["containers"][0]["image"] == images.BASE


def test_the_configurations_of_programs_are_yaml():
    for name, file in (("innervate-telemetry", "config.yaml"), ("prometheus", "prometheus.yml")):
        assert yaml.safe_load(_named("ConfigMap", name)["data"][file])


def _pod(name, *, annotations=None, ports=(), phase="Running"):
    return {
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
        "spec": {"nodeName": "core", "containers": [{"ports": list(ports)}]},
        "status": {"phase": phase, "podIP": "10.0.0.1"},
    }


def test_pods_are_scraped_by_port_name_or_annotation():
    metrics = {"name": "metrics", "containerPort": 9464}
    annotated = {"prometheus.io/scrape": "true", "prometheus.io/port": "80"}
    pods = [
        _pod("named", ports=[{"name": "grpc", "containerPort": 7443}, metrics]),
        _pod("annotated", annotations=annotated, ports=[metrics]),
        _pod("portless", annotations={"prometheus.io/scrape": "true"}),
        _pod("ended", ports=[metrics], phase="Succeeded"),
        _pod("plain", ports=[{"name": "grpc", "containerPort": 7443}]),
    ]
    found = {group["labels"]["pod"]: group["targets"] for group in scrape_targets.groups(pods)}
    assert found == {"named": ["10.0.0.1:9464"], "annotated": ["10.0.0.1:80"]}
