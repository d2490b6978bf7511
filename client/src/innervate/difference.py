"""How an apply would change what the cluster has, asked of the API server itself by a dry run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from innervate_kinds.api.names import DESIRED_HASH

from innervate.planning import FILLED_IN, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from innervate_kinds.api.plan import Child

    from innervate.kubectl import Kubectl

_SET_BY_SERVER = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences"}
)
_ANNOTATIONS_OF_OTHERS = (
    "deployment.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.kubernetes.io/",
    DESIRED_HASH,
)
_FIELD_MANAGER = "innervate"


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

    Every child is applied with ``--dry-run=server``: defaults, merge rules and admission are the
    cluster's own.
    """
    return [_one(child, kubectl) for child in children]


def _one(child: Child, kubectl: Kubectl) -> Difference:
    metadata = child.manifest["metadata"]
    path = child.kind.path(metadata.get("namespace"), metadata["name"])
    live = kubectl.attempt("get", "--raw", path)
    before = json.loads(live.stdout) if live.returncode == 0 else None
    dry = kubectl.attempt(
        *("apply", "--server-side", "--force-conflicts", f"--field-manager={_FIELD_MANAGER}"),
        *("--dry-run=server", "--output=json", "--filename=-"),
        stdin=json.dumps(printable(child.manifest)),
    )
    if dry.returncode:
        return Difference(Verdict.REFUSED, message=dry.stderr.strip().removeprefix("Error from server "))
    if before is None:
        return Difference(Verdict.CREATE)
    changes = tuple(compare(_ours(before), _ours(json.loads(dry.stdout))))
    return Difference(Verdict.CHANGE if changes else Verdict.KEEP, changes)


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
