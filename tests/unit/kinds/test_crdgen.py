"""What is generated follows from the rooms, is committed as generated, and refuses what a CRD cannot say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from innervate_kinds.api.kind import SECRET
from innervate_kinds.api.resource import Model
from innervate_kinds.api.room import Rule
from innervate_kinds.crdgen import crd, rbac, reference
from innervate_kinds.crdgen.__main__ import files
from innervate_kinds.crdgen.schema import SchemaError, structural
from innervate_kinds.registry import ROOMS
from pydantic import Field

if TYPE_CHECKING:
    from innervate_kinds.api.room import Room

ROOT = Path(__file__).parents[3]


class Unlimited(Model):
    """A string without a maximum."""

    text: str


class Several(Model):
    """A field of two types."""

    value: Annotated[int, Field(ge=0)] | Annotated[str, Field(max_length=3)]


class UnlimitedList(Model):
    """A list without a maximum."""

    numbers: tuple[int, ...] = ()


class UnlimitedMap(Model):
    """A map without a maximum."""

    numbers: dict[str, int]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Unlimited, "spec.text: a string needs a maximum length"),
        (UnlimitedList, "spec.numbers: a list needs a maximum length"),
        (UnlimitedMap, "spec.numbers: a map needs a maximum length"),
        (Several, "spec.value: a structural schema cannot say one of several types"),
    ],
)
def test_refuses_what_a_crd_cannot_hold(model: type[Model], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        structural(model, path="spec")


def test_a_rule_must_stand_at_a_field() -> None:
    room = ROOMS[0]
    rule = Rule(path="spec.nowhere", rule="true", message="", holds=lambda _new, _old: True)
    lost = replace(room, definition=replace(room.definition, rules=(rule,)))
    with pytest.raises(SchemaError, match="nowhere is not a field"):
        crd.definition(lost)


def walk(schema: dict[str, Any]) -> list[dict[str, Any]]:
    below = list(schema.get("properties", {}).values())
    below += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    return [schema, *(each for part in below for each in walk(part))]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.kind.kind)
def test_every_field_explains_itself(room: Room[Any, Any]) -> None:
    schema = crd.schema(room)["properties"]
    for part in ("spec", "status"):
        for node in walk(schema[part]):
            assert "$ref" not in node
            for name, field in node.get("properties", {}).items():
                assert field.get("description"), name


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.kind.kind)
def test_every_reason_is_documented(room: Room[Any, Any]) -> None:
    page = (ROOT / f"docs/reference/{room.kind.kind.lower()}.md").read_text()
    meanings = reference.reasons(room)
    assert meanings
    for reason, meaning in meanings.items():
        assert meaning
        assert f"| `{reason}` |" in page


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.kind.kind)
def test_definitions_follow_the_conventions(room: Room[Any, Any]) -> None:
    spec = crd.definition(room)["spec"]
    assert spec["names"]["categories"] == ["innervate"]
    assert spec["names"]["shortNames"]
    version = spec["versions"][0]
    assert version["subresources"] == {"status": {}}
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert {"Ready", "Succeeded"} & set(columns)
    assert columns[-1] == "Age"
    conditions = version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_secrets_may_only_be_created() -> None:
    verbs = {
        verb
        for rules in rbac.rules(ROOMS).values()
        for rule in rules
        if SECRET.plural in rule["resources"]
        for verb in rule["verbs"]
    }
    assert verbs == {"create"}


def test_every_declared_kind_may_be_read() -> None:
    granted = {
        (group, resource, verb)
        for rules in rbac.rules(ROOMS).values()
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    for room in ROOMS:
        read = {room.kind, *room.children, *(watch.kind for watch in room.watches)}
        for kind in read:
            assert {(kind.group, kind.plural, verb) for verb in ("get", "list", "watch")} <= granted
        for kind in room.children:
            assert {(kind.group, kind.plural, verb) for verb in ("create", "patch", "delete")} <= granted
        assert (room.kind.group, f"{room.kind.plural}/status", "patch") in granted


def crdgen(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "innervate_kinds.crdgen", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_is_committed_is_what_is_generated() -> None:
    for name, text in files().items():
        assert (ROOT / name).read_text() == text, "run `make generate`"


def test_the_check_shows_what_differs_and_names_the_fix(tmp_path: Path) -> None:
    assert crdgen("--output", str(tmp_path)).returncode == 0
    assert crdgen("--check", "--output", str(tmp_path)).returncode == 0
    changed = tmp_path / "crds/memorystores.innervate.dev.yaml"
    changed.write_text(changed.read_text().replace("default: Retain", "default: Delete"))
    stale = tmp_path / "docs/reference/gone.md"
    stale.write_text("gone")
    result = crdgen("--check", "--output", str(tmp_path))
    assert result.returncode == 1
    assert "-                default: Delete" in result.stdout
    assert "+                default: Retain" in result.stdout
    assert "docs/reference/gone.md is generated no more" in result.stdout
    assert "make generate" in result.stdout
    assert crdgen("--output", str(tmp_path)).returncode == 0
    assert not stale.exists()
    assert crdgen("--check", "--output", str(tmp_path)).returncode == 0
