"""Reference pages: every field, rule and reason of a kind."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import textwrap
from typing import TYPE_CHECKING, Any

from innervate_kinds.crdgen import crd
from innervate_kinds.crdgen.schema import SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from enum import StrEnum

    from innervate_kinds.api.room import Room
    from innervate_kinds.crdgen.schema import Schema


def page(room: Room[Any, Any]) -> str:
    """Markdown reference page of a room."""
    schema = crd.schema(room)
    kind = room.kind
    scope = "namespaced" if kind.namespaced else "cluster-scoped"
    names = (
        f"`{kind.api_version}`, {scope}; short name `{'`, `'.join(room.definition.short_names)}`. "
        f"This page is generated; `kubectl explain {kind.kind.lower()}` tells the same."
    )
    sections = [
        f"# {kind.kind}",
        room.definition.description,
        names,
        "## Spec",
        _table(schema["properties"]["spec"], "spec"),
    ]
    if room.definition.rules:
        lines = [f"- `{rule.path}`: {rule.message}" for rule in room.definition.rules]
        sections += ["## Rules", "\n".join(lines)]
    sections += [
        "## Status",
        _table(schema["properties"]["status"], "status"),
        "## Reasons",
        "Each condition carries one of these words as its `reason`.",
        "\n".join(
            [
                "| reason | meaning |",
                "|---|---|",
                *(f"| `{word}` | {_cell(meaning)} |" for word, meaning in reasons(room).items()),
            ]
        ),
    ]
    return "\n\n".join(sections) + "\n"


def reasons(room: Room[Any, Any]) -> dict[str, str]:
    """Meaning of every reason of a room, from the docstrings under the members of its `Reason`.

    Raises
    ------
    SchemaError
        If a reason has none.
    """
    module = importlib.import_module(room.model.__module__.rpartition(".")[0] + ".status")
    enum: type[StrEnum] = module.Reason
    body = ast.parse(textwrap.dedent(inspect.getsource(enum))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101  the source of a class is a class
    meanings: dict[str, str] = {}
    for statement, after in zip(body.body, [*body.body[1:], None], strict=True):
        if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
            continue
        member = enum[statement.targets[0].id]
        if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
            raise SchemaError(f"{module.__name__}.Reason.{member.name} has no docstring")
        meanings[member.value] = str(after.value.value)
    return meanings


def _table(schema: Schema, path: str) -> str:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field, required=required)} | {_description(field)} |"
        for name, field, required in _fields(schema, path)
    ]
    return "\n".join(["| field | type | default | description |", "|---|---|---|---|", *rows])


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, Schema, bool]]:
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        yield below, field, name in schema.get("required", ())
        yield from _fields(field, below)
        if "items" in field:
            yield from _fields(field["items"], f"{below}[]")


def _type(field: Schema) -> str:
    match field["type"]:
        case "array":
            return f"list of {_type(field['items'])}"
        case "object" if "additionalProperties" in field:
            return f"map of {_type(field['additionalProperties'])}"
        case "string" if "enum" in field:
            return " \\| ".join(f"`{value}`" for value in field["enum"])
        case "string" if field.get("format") == "date-time":
            return "time"
        case other:
            return str(other)


def _default(field: Schema, *, required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(field['default'])}`" if "default" in field else ""


def _description(field: Schema) -> str:
    limits = [
        f"{word} {field[key]}"
        for key, word in (
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("maxItems", "at most"),
            ("maxProperties", "at most"),
        )
        if field.get(key)
    ]
    text = field.get("description", "")
    return _cell(f"{text} ({', '.join(limits)})" if limits else text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
