"""Structural schemas, as CRDs want them, from pydantic models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, NoDefault

if TYPE_CHECKING:
    from innervate_kinds.api.room import Rule

Schema = dict[str, Any]

_KEPT = (
    *("type", "format", "description", "default", "enum", "pattern", "minLength", "maxLength"),
    *("minimum", "maximum", "minItems", "maxItems", "items", "properties", "required"),
    *("maxProperties", "additionalProperties", "x-kubernetes-validations"),
)
_DROPPED = {"title"}
_LIST_KEYS = {"conditions": "type"}
"""Lists whose items have a key, so that several writers may each own some."""


class SchemaError(Exception):
    """A model that no structural schema can say, or without a limit that CEL's cost needs."""


class _Generator(GenerateJsonSchema):
    """Knows the defaults that a factory makes, and writes only what was set in them."""

    def get_default_value(self, schema: Any) -> Any:
        factory = schema.get("default_factory")
        if factory is None:
            return super().get_default_value(schema)
        return factory() if not schema.get("default_factory_takes_data") else NoDefault

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, BaseModel):
            return dft.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return super().encode_default(dft)


def structural(model: type[BaseModel], *, path: str, defaults: bool = True) -> Schema:
    """Structural schema of a model.

    Parameters
    ----------
    model
        The model.
    path
        Where it stands, for errors.
    defaults
        Whether defaults are written: a status has none.

    Raises
    ------
    SchemaError
        If a keyword cannot be said, or a string, list or map has no maximum.
    """
    raw = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _convert(raw, raw.get("$defs", {}), path, defaults=defaults)


def add_rules(schema: Schema, rules: tuple[Rule, ...]) -> None:
    """Attach CEL rules where they hold; a path that is not in the schema is an error."""
    for rule in rules:
        node = schema
        for step in rule.path.split(".") if rule.path else ():
            name = step.removesuffix("[]")
            if name not in node.get("properties", {}):
                raise SchemaError(
                    f"the rule {rule.rule!r} stands at {rule.path}, where {name} is not a field"
                )
            node = node["properties"][name]
            if step.endswith("[]"):
                node = node["items"]
        entry = {"rule": rule.rule, "message": rule.message}
        node.setdefault("x-kubernetes-validations", []).append(entry)


def _convert(raw: Schema, definitions: Schema, path: str, *, defaults: bool) -> Schema:
    raw = _inlined(raw, definitions, path)
    unknown = raw.keys() - set(_KEPT) - _DROPPED
    if unknown:
        raise SchemaError(f"{path}: a structural schema cannot say {', '.join(sorted(unknown))}")
    result = {key: raw[key] for key in _KEPT if key in raw}
    if "description" in result:
        result["description"] = " ".join(result["description"].replace("``", "`").split())
    if result.get("type") == "integer":
        result["format"] = "int64"
    if "properties" in result:
        result.pop("additionalProperties", None)
        result["properties"] = {
            name: _convert(child, definitions, f"{path}.{name}", defaults=defaults)
            for name, child in result["properties"].items()
        }
    elif isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(
            result["additionalProperties"], definitions, f"{path}.*", defaults=defaults
        )
    if "items" in result:
        result["items"] = _convert(result["items"], definitions, f"{path}[]", defaults=defaults)
        key = _LIST_KEYS.get(path.rpartition(".")[2])
        if key:
            result |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    if not defaults or result.get("default") is None or _is_empty_collection(result):
        result.pop("default", None)
    _check_limits(result, path)
    return result


def _inlined(raw: Schema, definitions: Schema, path: str) -> Schema:
    """Replace references and optional types; what stands beside them wins."""
    raw = {key: value for key, value in raw.items() if key != "$defs"}
    if "$ref" in raw:
        target = definitions[raw.pop("$ref").rsplit("/", 1)[-1]]
        return _inlined({**target, **raw}, definitions, path)
    if "anyOf" in raw:
        choices = [choice for choice in raw.pop("anyOf") if choice != {"type": "null"}]
        if len(choices) != 1:
            raise SchemaError(f"{path}: a structural schema cannot say one of several types")
        return _inlined({**choices[0], **raw}, definitions, path)
    return raw


def _is_empty_collection(schema: Schema) -> bool:
    return "properties" not in schema and schema.get("default") in ([], {})


def _check_limits(schema: Schema, path: str) -> None:
    match schema.get("type"):
        case "string" if not ({"maxLength", "enum"} & schema.keys() or schema.get("format") == "date-time"):
            raise SchemaError(f"{path}: a string needs a maximum length")
        case "array" if "maxItems" not in schema:
            raise SchemaError(f"{path}: a list needs a maximum length")
        case "object" if "additionalProperties" in schema and "maxProperties" not in schema:
            raise SchemaError(f"{path}: a map needs a maximum length")
        case None:
            raise SchemaError(f"{path}: has no type")
