"""Wrong values are refused with a message that names them; Kubernetes' own blocks stay open."""

from __future__ import annotations

import json

import pytest
import yaml

BAD = {
    "unknown key": ({"replica": 2}, "replica"),
    "unknown nested key": ({"image": {"repository": "x"}}, "repository"),
    "no operator at all": ({"replicas": 0}, "replicas"),
    "a number as text": ({"replicas": "2"}, "replicas"),
    "pull policy": ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
    "pull secrets as objects": ({"image": {"pullSecrets": [{"name": "x"}]}}, "pullSecrets"),
    "image of an unknown service": ({"images": {"memmory": "x"}}, "memmory"),
    "registry with a scheme": ({"image": {"registry": "https://registry.example.com"}}, "registry"),
    "namespaces as text": ({"watchNamespaces": "shop"}, "watchNamespaces"),
    "namespace that cannot be": ({"watchNamespaces": ["Shop"]}, "watchNamespaces"),
    "endpoint without a scheme": ({"telemetry": {"otlpEndpoint": "collector:4317"}}, "otlpEndpoint"),
    "log level": ({"log": {"level": "loud"}}, "level"),
    "no workers": ({"reconcile": {"workers": 0}}, "workers"),
    "trust domain with a scheme": ({"trustDomain": "spiffe://example.com"}, "trustDomain"),
    "port out of range": ({"networkPolicy": {"apiServer": {"ports": [70000]}}}, "ports"),
    "address for a range": ({"networkPolicy": {"apiServer": {"cidrs": ["192.0.2.1"]}}}, "cidrs"),
}


@pytest.mark.parametrize(("values", "named"), BAD.values(), ids=BAD.keys())
def test_wrong_values_are_refused_by_name(helm, values, named):
    refused = helm("template", values)
    assert refused.returncode != 0
    assert "values don't meet the specifications of the schema" in refused.stderr
    assert named in refused.stderr


def objects(schema, path=""):
    if schema.get("type") == "object":
        yield path, schema
    for key, value in schema.get("properties", {}).items():
        yield from objects(value, f"{path}.{key}")


def test_every_value_is_in_the_schema_and_every_key_of_the_schema_is_a_value(chart):
    schema = json.loads((chart / "values.schema.json").read_text())
    values = yaml.safe_load((chart / "values.yaml").read_text())
    for path, part in objects(schema):
        if part.get("additionalProperties") is False and path != ".images":
            at = values
            for key in filter(None, path.split(".")):
                at = at[key]
            assert at.keys() == part["properties"].keys() - {"global"}, path


def test_the_readme_lists_every_value(chart):
    readme = (chart / "README.md").read_text()
    values = yaml.safe_load((chart / "values.yaml").read_text())

    def leaves(tree, path=""):
        for key, value in tree.items():
            name = f"{path}.{key}" if path else key
            if isinstance(value, dict) and value and key != "resources":
                yield from leaves(value, name)
            else:
                yield name

    missing = [name for name in leaves(values) if f"| `{name}` |" not in readme]
    assert not missing
