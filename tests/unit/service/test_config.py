"""Configuration: what is right loads, what is wrong is named with its fix."""

from __future__ import annotations

import json

import pytest
from innervate_service.config import ConfigError, ConfigModel, ServiceConfig, config_path, load


class Whole(ConfigModel):
    service: ServiceConfig
    records: int = 1


GOOD = {
    "service": {
        "listen": "0.0.0.0:7443",
        "healthListen": "0.0.0.0:8081",
        "metricsListen": "0.0.0.0:9464",
        "identity": {
            "endpoint": "innervate-identity.innervate-system.svc:7443",
            "trustDomain": "innervate.local",
            "dnsNames": ["m.shop.svc", "localhost"],
        },
        "telemetry": {"otlpEndpoint": None, "serviceName": "m"},
        "admission": {"maxConcurrent": 8, "maxQueue": 16},
    }
}


def write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_the_agreed_form_loads(tmp_path):
    config = load(write(tmp_path / "config.json", GOOD), Whole)
    assert config.service.admission.max_queue == 16
    assert config.service.identity is not None
    assert config.service.identity.dns_names == ("m.shop.svc", "localhost")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "correct the JSON"),
        ({}, "service is missing; add it"),
        ({**GOOD, "record": 3}, "record = 3 is not known"),
        ({**GOOD, "records": "many"}, "records = 'many' is refused"),
        ({"service": {"listen": "nowhere"}}, r"service\.listen = 'nowhere' is refused"),
        (
            {"service": {"admission": {"maxConcurrent": 0}}},
            r"service\.admission\.maxConcurrent = 0 is refused; .*1",
        ),
        ({"service": {"identity": {"endpoint": "x:1"}}}, r"service\.identity\.dnsNames is missing"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    path = write(tmp_path / "config.json", content)
    with pytest.raises(ConfigError, match=message) as refused:
        load(path, Whole)
    assert str(path) in str(refused.value)


def test_every_wrong_field_is_named_at_once(tmp_path):
    path = write(tmp_path / "config.json", {"service": {"listen": "x", "healthListen": "y"}, "z": 1})
    with pytest.raises(ConfigError) as refused:
        load(path, Whole)
    assert len(str(refused.value).splitlines()) == 3


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="INNERVATE_CONFIG"):
        load(tmp_path / "config.json", Whole)


def test_the_path_is_taken_from_the_environment(monkeypatch):
    monkeypatch.setenv("INNERVATE_CONFIG", "/x/y.json")
    assert str(config_path()) == "/x/y.json"
    monkeypatch.delenv("INNERVATE_CONFIG")
    assert str(config_path()) == "/etc/innervate/config/config.json"
