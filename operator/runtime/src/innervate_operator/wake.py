"""From a change anywhere in the cluster to the keys it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_kinds.api.kind import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from innervate_operator.cache import Caches, Change

_Place = tuple[str, str, str, str]
"""Group, kind, namespace and name; an empty name stands for all, and then an empty namespace too."""


class Waker:
    """Wakes owners by their label and whoever refers to what changed.

    Parameters
    ----------
    caches
        Knows our resources by UID.
    wake
        Told of every key concerned.
    """

    def __init__(self, caches: Caches, wake: Callable[[Reference], None]) -> None:
        self._caches = caches
        self._wake = wake
        self._places: dict[Reference, frozenset[_Place]] = {}
        self._readers: dict[_Place, set[Reference]] = {}

    def refer(self, key: Reference, references: Iterable[Reference]) -> None:
        """Note what a resource refers to, in place of what it referred to before."""
        places = frozenset(
            (each.kind.group, each.kind.kind, each.namespace or "", each.name) for each in references
        )
        before = self._places.get(key, frozenset())
        if places == before:
            return
        for place in before - places:
            readers = self._readers[place]
            readers.discard(key)
            if not readers:
                del self._readers[place]
        for place in places - before:
            self._readers.setdefault(place, set()).add(key)
        if places:
            self._places[key] = places
        else:
            self._places.pop(key, None)

    def changed(self, change: Change) -> None:
        """Wake whom a change concerns."""
        for uid in change.owners:
            for kind, store in self._caches.own.items():
                owner = store.key_of(uid)
                if owner is not None:
                    self._wake(Reference(kind, owner[0] or None, owner[1]))
        kind = change.kind
        # A reader of the object, of its namespace, or of all; for cluster-scoped kinds the last two are one.
        for namespace, name in {(change.namespace, change.name), (change.namespace, ""), ("", "")}:
            for key in self._readers.get((kind.group, kind.kind, namespace, name), ()):
                self._wake(key)

    def own_changed(self, change: Change) -> None:
        """Wake a resource of ours itself, and whom its change concerns."""
        self._wake(Reference(change.kind, change.namespace or None, change.name))
        self.changed(change)
