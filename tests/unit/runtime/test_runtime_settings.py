"""Settings: flags over environment over defaults, with words for what is wrong."""

from __future__ import annotations

import orjson
import pytest
from innervate_operator import versions
from innervate_operator.errors import StartupError
from innervate_operator.settings import Settings, load, parser


def test_flags_win_over_the_environment_and_the_environment_over_defaults():
    environment = {"INNERVATE_WORKERS": "3", "INNERVATE_REGISTRY": "r.example", "INNERVATE_OTLP_ENDPOINT": ""}
    found = load(["--workers", "5"], environment)
    assert (found.workers, found.registry, found.otlp_endpoint) == (5, "r.example/", None)
    assert found.resync_seconds == 600


def test_lists_and_maps_are_read_from_text():
    environment = {
        "INNERVATE_WATCH_NAMESPACES": "a, b",
        "INNERVATE_IMAGES": '{"memory": "x/y:1"}',
        "INNERVATE_IMAGE_PULL_SECRETS": "s",
    }
    found = load([], environment)
    assert found.watch_namespaces == ("a", "b")
    assert found.images == {"memory": "x/y:1"}
    assert found.image_pull_secrets == ("s",)


def test_a_wrong_value_is_named_with_its_flag():
    with pytest.raises(StartupError, match=r"--workers = 'many' is refused"):
        load(["--workers", "many"], {})
    with pytest.raises(StartupError, match=r"--images"):
        load([], {"INNERVATE_IMAGES": "no json"})


def test_help_tells_every_setting_with_its_default():
    text = " ".join(parser().format_help().split())
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
    assert "(default: 600.0)" in text


@pytest.mark.parametrize(
    ("major", "minor", "found"), [("1", "34", (1, 34)), ("1", "30+", (1, 30)), ("2", "0", (2, 0))]
)
def test_the_version_is_read_as_vendors_write_it(major, minor, found):
    assert versions.parse(orjson.dumps({"major": major, "minor": minor})) == found


def test_an_answer_without_a_version_is_told():
    with pytest.raises(StartupError, match="cannot be read"):
        versions.parse(b'{"gitVersion": "?"}')
