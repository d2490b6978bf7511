"""CustomResourceDefinitions from rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import GROUP
from innervate_kinds.crdgen.schema import Schema, add_rules, structural

if TYPE_CHECKING:
    from innervate_kinds.api.plan import Manifest
    from innervate_kinds.api.room import Column, Room

CATEGORY = "innervate"
"""What `kubectl get innervate` lists."""


def name(room: Room[Any, Any]) -> str:
    """Name of a room's CRD."""
    return f"{room.kind.plural}.{GROUP}"


def definition(room: Room[Any, Any]) -> Manifest:
    """CRD of a room."""
    kind = room.kind
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name(room)},
        "spec": {
            "group": kind.group,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": list(room.definition.short_names),
                "categories": [CATEGORY],
            },
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in room.definition.columns],
                    "schema": {"openAPIV3Schema": schema(room)},
                }
            ],
        },
    }


def schema(room: Room[Any, Any]) -> Schema:
    """Schema of a room's resource, rules included."""
    fields = room.model.model_fields
    spec = structural(_model(fields["spec"].annotation), path="spec")
    status = structural(_model(fields["status"].annotation), path="status", defaults=False)
    required = fields["spec"].is_required()
    if not required:
        spec["default"] = {}
    result: Schema = {
        "type": "object",
        "description": room.definition.description,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    if required:
        result["required"] = ["spec"]
    add_rules(result, room.definition.rules)
    return result


def _model(annotation: Any) -> Any:
    """Model of a field that may be optional."""
    arguments = [part for part in getattr(annotation, "__args__", ()) if part is not type(None)]
    return arguments[0] if arguments else annotation


def _column(column: Column) -> Manifest:
    entry: Manifest = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        entry["priority"] = column.priority
    if column.description:
        entry["description"] = column.description
    return entry
