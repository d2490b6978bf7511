"""Selectors, resources, quantities and network rules that every room may use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from innervate_kinds.api import network
from innervate_kinds.api.quantity import PositiveQuantity, parse
from innervate_kinds.api.scheduling import LabelSelector, Resources
from kinds_cluster import CONFIG
from pydantic import TypeAdapter, ValidationError


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "a", "x": "y"}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "b"}, False),
        ({"matchLabels": {"team": "a"}}, {}, False),
        ({"matchExpressions": [{"key": "e", "operator": "In", "values": ["a", "b"]}]}, {"e": "b"}, True),
        ({"matchExpressions": [{"key": "e", "operator": "In", "values": ["a"]}]}, {}, False),
        ({"matchExpressions": [{"key": "e", "operator": "NotIn", "values": ["a"]}]}, {"e": "a"}, False),
        ({"matchExpressions": [{"key": "e", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "e", "operator": "Exists"}]}, {"e": ""}, True),
        ({"matchExpressions": [{"key": "e", "operator": "DoesNotExist"}]}, {"e": ""}, False),
        (
            {"matchLabels": {"t": "a"}, "matchExpressions": [{"key": "e", "operator": "Exists"}]},
            {"t": "a"},
            False,
        ),
    ],
)
def test_a_selector_selects_as_kubernetes_does(
    selector: dict[str, object], labels: dict[str, str], selected: bool
) -> None:
    assert LabelSelector.model_validate(selector).selects(labels) is selected


def test_given_resources_keep_the_other_defaults() -> None:
    defaults = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}
    given = Resources.model_validate({"limits": {"memory": "4Gi"}})
    assert given.over(defaults) == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "4Gi"},
    }


@pytest.mark.parametrize("text", ["0", "-1", "0Mi", "1.2.3", "", "Gi", "1 Gi", "1GiB", "١Gi"])
def test_what_is_no_positive_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PositiveQuantity).validate_python(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1Gi", 2**30), ("500m", 0.5), ("1e3", 1000), ("1.5Ki", 1536), ("2E", 2 * 10**18)]
)
def test_quantities_have_the_value_kubernetes_gives_them(text: str, value: float) -> None:
    assert TypeAdapter(PositiveQuantity).validate_python(text) == text
    assert float(parse(text)) == value


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (None, []),
        (
            "http://telemetry.observability.svc:4317",
            [{"to": [network.namespaces(["observability"])], "ports": [network.port(4317)]}],
        ),
        ("https://otlp.example.com", [{"ports": [network.port(4317)]}]),
        ("otlp.example.com:443", [{"ports": [network.port(443)]}]),
        ("http://10.1.2.3:4318", [{"ports": [network.port(4318)]}]),
    ],
)
def test_telemetry_is_let_out_to_where_it_goes(endpoint: str | None, expected: list[object]) -> None:
    assert network.telemetry(replace(CONFIG, otlp_endpoint=endpoint)) == expected
