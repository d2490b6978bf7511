"""RBAC rules that the operator needs for its rooms."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from innervate_kinds.api.kind import Kind
    from innervate_kinds.api.plan import Manifest
    from innervate_kinds.api.room import Room

_READ = ("get", "list", "watch")
_ORDER = ("get", "list", "watch", "create", "update", "patch", "delete")

_Grants = defaultdict[tuple[str, str, bool], set[str]]
"""Verbs by group, resource and whether it lives in namespaces."""


def rules(rooms: Sequence[Room[Any, Any]]) -> dict[str, list[Manifest]]:
    """Rules for cluster-scoped kinds and for those in namespaces.

    Returns
    -------
    dict
        ``clusterRules`` and ``namespacedRules``, each a list of PolicyRules. An operator for the whole
        cluster gets both in one ClusterRole; one for single namespaces gets the latter in each.
    """
    grants: _Grants = defaultdict(set)
    for room in rooms:
        _grant(grants, room.kind, (*_READ, "patch"))
        _grant(grants, room.kind, ("get", "patch"), part="status")
        # Owner references that block deletion may only be set by who may set finalizers.
        _grant(grants, room.kind, ("update",), part="finalizers")
        for kind in room.children:
            _grant(grants, kind, (*_READ, "create", "patch", "delete"))
        for kind in room.ensured:
            _grant(grants, kind, ("create",))
        for watch in room.watches:
            _grant(grants, watch.kind, _READ)
        for rule in room.rules:
            for group in rule.groups:
                for resource in rule.resources:
                    grants[group, resource, True] |= set(rule.verbs)
    return {
        "clusterRules": _policy(grants, namespaced=False),
        "namespacedRules": _policy(grants, namespaced=True),
    }


def _grant(grants: _Grants, kind: Kind, verbs: Iterable[str], *, part: str = "") -> None:
    resource = f"{kind.plural}/{part}" if part else kind.plural
    grants[kind.group, resource, kind.namespaced] |= set(verbs)


def _policy(grants: _Grants, *, namespaced: bool) -> list[Manifest]:
    """Rules with resources of one group and the same verbs together."""
    together: defaultdict[tuple[str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (group, resource, in_namespaces), verbs in grants.items():
        if in_namespaces == namespaced:
            together[group, tuple(verb for verb in _ORDER if verb in verbs)].append(resource)
    return [
        {"apiGroups": [group], "resources": sorted(resources), "verbs": list(verbs)}
        for (group, verbs), resources in sorted(together.items())
    ]
