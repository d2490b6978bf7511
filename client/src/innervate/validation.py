"""Strict validation of resources before a cluster sees them, each problem with place and remedy."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import GROUP, VERSION
from pydantic import ValidationError

from innervate.manifests import ABSENT, step_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from innervate_kinds.api.resource import Resource
    from innervate_kinds.api.room import Room
    from pydantic_core import ErrorDetails

    from innervate.manifests import Document, PathKey

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA = (
    *("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences"),
    *("uid", "generation", "resourceVersion", "creationTimestamp", "deletionTimestamp"),
    *("generateName", "managedFields", "selfLink", "deletionGracePeriodSeconds"),
)
_NAME_LIMIT = 253
_SHOWN = 80
_WORDING = (
    ("Extra inputs are not permitted", "unknown field"),
    ("Field required", "is required"),
    ("Value error, ", ""),
    ("Assertion failed, ", ""),
    ("Input should be ", "must be "),
    ("Input should have ", "must have "),
    ("Input should match ", "must match "),
    ("String should ", "must "),
    ("List should ", "must "),
    ("Tuple should ", "must "),
    ("Dictionary should ", "must "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a document.

    Parameters
    ----------
    source, line
        Where it stands.
    path
        The field, such as ``spec.storage.redis.size``.
    value
        What was written, shortened; None where nothing was.
    message
        What is wrong.
    suggestion
        What was probably meant; empty where that is unknown.
    """

    source: str
    line: int
    path: str
    value: str | None
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        field = self.path if self.value is None else f"{self.path} = {self.value}"
        hint = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        return f"{self.source}:{self.line}: {field}: {self.message}{hint}"


def check(
    document: Document,
    rooms: Sequence[Room[Any, Any]],
    *,
    namespace: str,
    old: dict[str, Any] | None = None,
) -> tuple[Room[Any, Any] | None, Resource[Any, Any] | None, list[Problem]]:
    """Validate a document.

    Parameters
    ----------
    document
        What was written.
    rooms
        The kinds we know.
    namespace
        Namespace of resources that name none.
    old
        The resource as the cluster has it, for rules about changes; None where it is not known.

    Returns
    -------
    Room or None
        The room of its kind; None where the kind is not ours.
    Resource or None
        The resource, where it is valid.
    list of Problem
        What is wrong with it.
    """
    data = document.data
    group = str(data.get("apiVersion", "")).split("/")[0]
    if group != GROUP:
        missing = [key for key in ("apiVersion", "kind") if not data.get(key)]
        return None, None, [_problem(document, (key,), "is required") for key in missing]
    room = next((room for room in rooms if room.kind.kind == data.get("kind")), None)
    wanted = f"{GROUP}/{VERSION}"
    if data["apiVersion"] != wanted:
        problem = _problem(document, ("apiVersion",), f"must be {wanted}", suggestion=wanted)
        return room, None, [problem]
    if room is None:
        kinds = [room.kind.kind for room in rooms]
        problem = _problem(
            document,
            ("kind",),
            f"unknown kind; there are {', '.join(kinds)}",
            suggestion=_closest(str(data.get("kind", "")), kinds),
        )
        return None, None, [problem]
    problems = [*_check_top(document), *_check_metadata(document, room)]
    resource = None
    try:
        resource = room.model.model_validate(
            _completed(data, room, namespace), extra="forbid", by_alias=True, by_name=False
        )
    except ValidationError as error:
        schema = room.model.model_json_schema(by_alias=True)
        problems += [
            _from_pydantic(document, detail, schema)
            for detail in error.errors(include_url=False)
            if detail["loc"][0] == "spec"
        ]
    else:
        before = room.model.model_validate(old) if old else None
        problems += [
            _problem(document, tuple(rule.path.split(".")) if rule.path else ("spec",), rule.message)
            for rule in room.definition.rules
            if not rule.holds(resource, before)
        ]
    return room, resource if not problems else None, sorted(problems, key=lambda problem: problem.line)


def _completed(data: dict[str, Any], room: Room[Any, Any], namespace: str) -> dict[str, Any]:
    """Build what the API server would hold: fields of ours only, with a generation and a namespace."""
    metadata = data.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    kept = {key: given[key] for key in ("name", "labels", "annotations") if given.get(key) is not None}
    scope = {"namespace": given.get("namespace") or namespace} if room.kind.namespaced else {}
    return {
        "apiVersion": data["apiVersion"],
        "kind": data["kind"],
        "metadata": {"name": "?", **kept, **scope, "generation": 1},
        **({"spec": data["spec"]} if "spec" in data else {}),
    }


def _check_top(document: Document) -> Iterable[Problem]:
    for key in document.data:
        if key not in _TOP:
            yield _problem(document, (key,), "unknown field", suggestion=_closest(key, _TOP))


def _check_metadata(document: Document, room: Room[Any, Any]) -> Iterable[Problem]:
    metadata = document.data.get("metadata")
    if not isinstance(metadata, dict):
        yield _problem(document, ("metadata",), "is required and must be a mapping with a name")
        return
    for key in metadata:
        if key not in _METADATA:
            yield _problem(document, ("metadata", key), "unknown field", suggestion=_closest(key, _METADATA))
    yield from _check_name(document, metadata.get("name"))
    if metadata.get("namespace") and not room.kind.namespaced:
        yield _problem(
            document, ("metadata", "namespace"), f"a {room.kind.kind} belongs to no namespace; leave it out"
        )
    for block in ("labels", "annotations"):
        values = metadata.get(block) or {}
        if not isinstance(values, dict):
            yield _problem(document, ("metadata", block), "must be a mapping")
            continue
        for key, value in values.items():
            if not isinstance(value, str):
                yield _problem(
                    document, ("metadata", block, key), "must be text", suggestion=f'"{value}" with quotes'
                )


def _check_name(document: Document, name: object) -> Iterable[Problem]:
    path = ("metadata", "name")
    if not isinstance(name, str) or not name:
        yield _problem(document, path, "is required and must be text")
    elif len(name) > _NAME_LIMIT:
        yield _problem(document, path, f"has {len(name)} characters; at most 253 are allowed")
    elif not _SUBDOMAIN.fullmatch(name):
        yield _problem(
            document,
            path,
            "must be lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
            suggestion=_as_name(name),
        )


def _from_pydantic(document: Document, detail: ErrorDetails, schema: dict[str, Any]) -> Problem:
    path = _real_path(detail["loc"], document.data)
    message = detail["msg"]
    for theirs, ours in _WORDING:
        if message.startswith(theirs):
            message = ours + message[len(theirs) :]
    suggestion = ""
    if detail["type"] == "extra_forbidden":
        suggestion = _closest(str(path[-1]), _fields(schema, path[:-1]))
    elif detail["type"] in ("enum", "literal_error"):
        offered = re.findall(r"'([^']*)'", message)
        suggestion = _closest(str(detail["input"]), offered)
    return _problem(document, path, message, suggestion=suggestion)


def _real_path(loc: Sequence[str | int], data: object) -> PathKey:
    """Path without the steps that pydantic adds for unions and validators."""
    path: list[str | int] = []
    for step in loc:
        below = step_into(data, step)
        if below is not ABSENT:
            data = below
        elif not (isinstance(data, dict) and step == loc[-1]):
            continue
        path.append(step)
    return tuple(path)


def _fields(schema: dict[str, Any], path: PathKey) -> list[str]:
    """Names of the fields allowed at a path of a JSON schema."""
    definitions = schema.get("$defs", {})

    def resolved(part: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in part:
            return resolved(definitions[part["$ref"].rsplit("/", 1)[-1]])
        nested = [*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())]
        return [each for option in nested for each in resolved(option)] or [part]

    level = resolved(schema)
    for step in path:
        key = "items" if isinstance(step, int) else None
        below = [
            part[key] if key else part.get("properties", {}).get(step)
            for part in level
            if (key in part if key else step in part.get("properties", {}))
        ]
        level = [each for part in below for each in resolved(part)]
    return [name for part in level for name in part.get("properties", {})]


def _problem(document: Document, path: PathKey, message: str, *, suggestion: str = "") -> Problem:
    value = document.value(path)
    shown = None if value is ABSENT or isinstance(value, dict | list) else repr(value)
    if shown and len(shown) > _SHOWN:
        shown = shown[:_SHOWN] + "…"
    return Problem(
        source=document.source,
        line=document.line(path),
        path=_dotted(path),
        value=shown,
        message=message,
        suggestion=suggestion,
    )


def _dotted(path: PathKey) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def _closest(word: str, words: Iterable[str]) -> str:
    lowered = {each.lower(): each for each in words}
    close = difflib.get_close_matches(word.lower().replace("_", ""), lowered, n=1, cutoff=0.6)
    return lowered[close[0]] if close else ""


def _as_name(text: str) -> str:
    return re.sub(r"[^-a-z0-9.]+", "-", text.lower()).strip("-.")
