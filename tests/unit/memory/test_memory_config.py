"""The configuration that the operator writes is one that the service takes."""

import json
from pathlib import Path

import pytest
import yaml
from innervate_memory.config import MemoryConfig

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "kinds" / "output" / "memorystore"


class Loader(yaml.SafeLoader):
    """Takes the mark of a generated value as that value."""


Loader.add_constructor("!generated", lambda loader, node: loader.construct_scalar(node))


def configs(path: Path) -> list[str]:
    found = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            text = value.get("config.json")
            if isinstance(text, str) and "maxRecordsPerSpace" in text:
                found.append(text)
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    for document in yaml.load_all(path.read_text(), Loader):
        walk(document)
    return found


@pytest.mark.parametrize("name", ["minimal", "full", "external"])
def test_what_the_operator_plans_is_accepted(name):
    found = configs(GOLDEN / f"{name}.yaml")
    assert found
    for text in found:
        config = MemoryConfig.model_validate_json(text)
        assert config.max_records_per_space == json.loads(text)["maxRecordsPerSpace"]
        assert config.operator is not None
        assert config.service.identity is not None
