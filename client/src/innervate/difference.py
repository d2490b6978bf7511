"""How an apply would change what the cluster has, asked of the API server itself by a dry run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.kind import GROUP

from innervate.planning import FILLED_IN, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from innervate_kinds.api.plan import Child

    from innervate.kubectl import Kubectl

_SET_BY_SERVER = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences"}
)
_ANNOTATIONS_OF_OTHERS = (
    *(
        "deployment.kubernetes.io/",
        "pv.kubernetes.io/",
        "volume.kubernetes.io/",
        "volume.beta.kubernetes.io/",
    ),
    # What the operator notes for itself on children.
    f"{GROUP}/",
)
_READ = ("--output=json", "--filename=-")
_DRY_RUN = (
    *("apply", "--server-side", "--force-conflicts", "--field-manager=innervate", "--dry-run=server"),
    *_READ,
)
_Key = tuple[str, str, str]
_Objects = dict[_Key, dict[str, Any]]


class Verdict(StrEnum):
    """What would become of a child."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that would change; an absent side is None."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """How one child would change.

    Parameters
    ----------
    verdict
        What would become of it.
    changes
        Its fields that would change.
    message
        The API server's words where it refuses.
    """

    verdict: Verdict
    changes: tuple[Change, ...] = ()
    message: str = ""


def of(children: Sequence[Child], kubectl: Kubectl) -> list[Difference]:
    """Difference of each child, in order.

    All are applied with ``--dry-run=server``: defaults, merge rules and admission are the cluster's own.
    """
    wanted = [printable(child.manifest) for child in children]
    if not wanted:
        return []
    before = _objects(kubectl.run("get", "--ignore-not-found", *_READ, stdin=_list(wanted)))
    dry = kubectl.attempt(*_DRY_RUN, stdin=_list(wanted))
    refused: dict[_Key, str] = {}
    if dry.returncode:
        # kubectl does not say which of many was refused.
        after: _Objects = {}
        for manifest in wanted:
            one = kubectl.attempt(*_DRY_RUN, stdin=json.dumps(manifest))
            after |= _objects(one.stdout)
            if one.returncode:
                refused[_key(manifest)] = one.stderr.strip().removeprefix("Error from server ")
    else:
        after = _objects(dry.stdout)
    return [_difference(key, before, after, refused) for key in map(_key, wanted)]


def _difference(key: _Key, before: _Objects, after: _Objects, refused: Mapping[_Key, str]) -> Difference:
    if key in refused:
        return Difference(Verdict.REFUSED, message=refused[key])
    if key not in before:
        return Difference(Verdict.CREATE)
    changes = tuple(compare(_ours(before[key]), _ours(after[key])))
    return Difference(Verdict.CHANGE if changes else Verdict.KEEP, changes)


def _list(manifests: Sequence[Any]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})


def _objects(printed: str) -> _Objects:
    """Objects in what kubectl printed: nothing, one object, or a List."""
    if not printed.strip():
        return {}
    found = json.loads(printed)
    items = found["items"] if found["kind"] == "List" else [found]
    return {_key(item): item for item in items}


def _key(manifest: Mapping[str, Any]) -> _Key:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _ours(manifest: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _SET_BY_SERVER}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith(_ANNOTATIONS_OF_OTHERS)
    }
    return {**manifest, "metadata": {**metadata, "annotations": annotations}, "status": None}


def compare(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """Leaves that differ; what only the operator can fill in counts as equal.

    Parameters
    ----------
    before, after
        Two values of JSON.
    path
        Where they stand, for the changes' paths.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            # A key with dots, as in labels, is shown so that the path can be read.
            step = f"[{key}]" if "." in key or "/" in key else f".{key}" if path else key
            yield from compare(before.get(key), after.get(key), path + step)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            name = old.get("name") if isinstance(old, dict) else None
            yield from compare(old, new, f"{path}[{name or number}]")
    elif after not in (before, FILLED_IN):
        yield Change(path, before, after)
