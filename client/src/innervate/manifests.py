"""Resources as people write them: YAML files, each field with the line it stands in."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from innervate.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PathKey = tuple[str | int, ...]
"""Steps to a field: names, and positions in lists."""
ABSENT = object()
"""Stands for a field that is not there, which None is not: YAML can say null."""
_SUFFIXES = (".yaml", ".yml", ".json")


class _Loader(yaml.SafeLoader):
    """As Kubernetes reads YAML: dates stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file.

    Parameters
    ----------
    source
        The file's name; ``-`` for standard input.
    data
        What it says.
    node
        The same with positions.
    """

    source: str
    data: dict[str, Any]
    node: yaml.Node

    def line(self, path: PathKey) -> int:
        """Line where a field stands, or the nearest one around it that is there."""
        node = self.node
        line = node.start_mark.line + 1
        for step in path:
            if isinstance(node, yaml.MappingNode):
                found = next(((key, value) for key, value in node.value if key.value == step), None)
                if found is None:
                    break
                key, node = found
                line = key.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def value(self, path: PathKey) -> Any:
        """Value of a field; `ABSENT` where there is none."""
        value: Any = self.data
        for step in path:
            value = step_into(value, step)
        return value

    @property
    def title(self) -> str:
        """What it is, for people."""
        metadata = self.data.get("metadata")
        name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
        return f"{self.data.get('kind', '?')} {name}"


def step_into(value: Any, step: str | int) -> Any:
    """One step down; `ABSENT` where there is nothing."""
    inside = (isinstance(value, dict) and step in value) or (
        isinstance(value, list) and isinstance(step, int) and step < len(value)
    )
    return value[step] if inside else ABSENT


def load(files: Sequence[str]) -> list[Document]:
    """Documents of files, of the YAML and JSON files of directories, and of standard input (``-``).

    Raises
    ------
    InvalidArgument
        If a file cannot be read or is no YAML; names the line.
    """
    documents: list[Document] = []
    for name in files:
        for source, text in _texts(name):
            documents += parse(text, source)
    return documents


def parse(text: str, source: str) -> list[Document]:
    """Documents of a text.

    Parameters
    ----------
    text
        YAML or JSON, one or more documents; Lists are taken apart.
    source
        Name for messages.
    """
    documents: list[Document] = []
    loader = _Loader(text)
    try:
        while (node := loader.get_node() if loader.check_node() else None) is not None:
            _refuse_twice(node, source)
            data = loader.construct_document(node)
            if data is not None:
                documents += _documents(source, data, node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidArgument(f"{source}:{line}: this is no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{source}: this is no YAML: {error}") from None
    finally:
        loader.dispose()
    return documents


def _texts(name: str) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "-", sys.stdin.read()
        return
    path = Path(name)
    try:
        if path.is_dir():
            found = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
            if not found:
                raise InvalidArgument(f"{name} holds no {', '.join(_SUFFIXES)} file", field="filename")
            for each in found:
                yield str(each), each.read_text(encoding="utf-8")
        else:
            yield name, path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidArgument(f"{name} cannot be read: {error.strerror}", field="filename") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{name} is not UTF-8 text", field="filename") from None


def _documents(source: str, data: object, node: yaml.Node) -> Iterator[Document]:
    if not isinstance(data, dict):
        line = node.start_mark.line + 1
        raise InvalidArgument(f"{source}:{line}: a resource is a mapping, not {type(data).__name__}")
    items = data.get("items")
    if data.get("kind") == "List" and isinstance(items, list):
        nodes = next(value for key, value in node.value if key.value == "items").value
        for item, item_node in zip(items, nodes, strict=True):
            yield from _documents(source, item, item_node)
    else:
        yield Document(source, data, node)


def _refuse_twice(node: yaml.Node, source: str) -> None:
    """Refuse a mapping that names a key twice: YAML parsers silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise InvalidArgument(
                        f"{source}:{line}: {key.value} is given twice, first in line {seen[key.value]}",
                        field=key.value,
                    )
                seen[key.value] = line
            _refuse_twice(value, source)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_twice(value, source)
