"""Whether a live object is still what we last wanted: a digest of the wish, and our fields against its."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson
from innervate_kinds.api import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

_QUANTITY_PARENTS = frozenset({"requests", "limits", "capacity", "hard"})
_QUANTITY_FIELDS = frozenset({"sizeLimit", "divisor"})
_MERGE_KEYS = ("name", "mountPath", "containerPort", "port", "uid", "topologyKey", "type")
"""Fields that tell the items of a list apart, as Kubernetes' own list-map keys do."""
_UNCOMPARED = frozenset({"resourceVersion", "uid", "creationTimestamp", "managedFields", "generation"})


def digest(manifest: Mapping[str, Any]) -> str:
    """Short digest of a manifest, the same for the same content in any order of keys."""
    content = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def differences(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> list[str]:
    """Paths of our fields whose live values are not what we want.

    Fields that we do not set are other people's or defaults. A field we set to something empty may be
    missing, as Go leaves out what is empty. Quantities are compared by value. Items that others added
    to a list are theirs as long as every one of ours can be told by its key.

    Parameters
    ----------
    wanted
        Manifest with our fields only.
    live
        Object as the server has it.
    """
    found: list[str] = []
    for field, value in wanted.items():
        if field == "metadata":
            for part, content in value.items():
                if part not in _UNCOMPARED:
                    _compare(content, live["metadata"].get(part), f"metadata.{part}", part, found)
        elif field not in {"apiVersion", "kind"}:
            _compare(value, live.get(field), field, field, found)
    return found


def holds(live: Any, wanted: Any) -> bool:
    """Whether an object has the fields of a patch: maps at least them, lists exactly them, in their order.

    Parameters
    ----------
    live
        Value as the server has it; fields that are not wanted are defaults, or other people's.
    wanted
        Value that is to be there.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            holds(live.get(key), value) for key, value in wanted.items() if key not in _UNCOMPARED
        )
    if isinstance(wanted, list | tuple):
        return (isinstance(live, list) and len(live) == len(wanted) and all(map(holds, live, wanted))) or (
            live is None and not wanted
        )
    return bool(live == wanted)


def _compare(wanted: Any, live: Any, path: str, parent: str, found: list[str]) -> None:
    if live is None and isinstance(wanted, dict | list | tuple) and not wanted:
        return
    if isinstance(wanted, dict):
        _compare_maps(wanted, live, path, parent, found)
    elif isinstance(wanted, list | tuple):
        _compare_lists(list(wanted), live, path, found)
    elif wanted != live and (live is not None or _weighs(wanted)):
        found.append(path)


def _compare_maps(wanted: dict[str, Any], live: Any, path: str, parent: str, found: list[str]) -> None:
    if not isinstance(live, dict):
        found.append(path)
        return
    for key, value in wanted.items():
        if parent in _QUANTITY_PARENTS or key in _QUANTITY_FIELDS:
            if not _same_quantity(value, live.get(key)):
                found.append(f"{path}.{key}")
        else:
            _compare(value, live.get(key), f"{path}.{key}", key, found)


def _compare_lists(wanted: list[Any], live: Any, path: str, found: list[str]) -> None:
    if not isinstance(live, list):
        found.append(path)
        return
    key = _key_of(wanted)
    if key is None:
        if len(wanted) != len(live):
            found.append(path)
            return
        for index, (ours, theirs) in enumerate(zip(wanted, live, strict=True)):
            _compare(ours, theirs, f"{path}[{index}]", "", found)
        return
    by_key = {item.get(key): item for item in live if isinstance(item, dict)}
    for item in wanted:
        _compare(item, by_key.get(item[key]), f"{path}[{item[key]}]", "", found)


def _key_of(items: list[Any]) -> str | None:
    for key in _MERGE_KEYS:
        if items and all(isinstance(item, dict) and key in item for item in items):
            values = [item[key] for item in items]
            if all(isinstance(value, str | int) for value in values) and len(set(values)) == len(values):
                return key
    return None


def _same_quantity(wanted: Any, live: Any) -> bool:
    if wanted is None or live is None or isinstance(wanted, dict | list) or isinstance(live, dict | list):
        return bool(wanted == live)
    try:
        return quantity.parse(str(wanted)) == quantity.parse(str(live))
    except ValueError:
        return bool(wanted == live)


def _weighs(value: Any) -> bool:
    # What Go's `omitempty` leaves out: a missing field already says it.
    return value not in ("", False, 0, None)
