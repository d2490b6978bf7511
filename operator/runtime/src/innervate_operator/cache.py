"""What the operator knows of the cluster: one store per kind and scope, read by the rooms.

Objects are kept as compact JSON and decoded when read: a Deployment takes 2 KB instead of 20 KB,
and what a reader holds can be changed without harm to the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.room import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from innervate_kinds.api.kind import Kind, Reference

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster-scoped kinds) and name."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class Entry(NamedTuple):
    """One cached object."""

    content: bytes
    uid: str
    version: int
    owner: str
    cached_at: float


class Change(NamedTuple):
    """An object that changed or went, and the owners it names now and named before."""

    kind: Kind
    namespace: str
    name: str
    owners: tuple[str, ...]


class Store:
    """Cached objects of one kind.

    Parameters
    ----------
    kind
        The kind.
    monotonic
        Clock; says when an object was cached.
    """

    def __init__(self, kind: Kind, monotonic: Callable[[], float]) -> None:
        self.kind = kind
        self.available = True
        self.synced = False
        self._monotonic = monotonic
        self._entries: dict[Key, Entry] = {}
        self._by_owner: dict[str, set[Key]] = {}
        self._by_uid: dict[str, Key] = {}
        self._progress: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, key: Key) -> Entry | None:
        """Entry as cached, or None."""
        return self._entries.get(key)

    def key_of(self, uid: str) -> Key | None:
        """Namespace and name of the object with that UID, or None."""
        return self._by_uid.get(uid)

    def keys(self, *, namespace: str | None = None, owner: str | None = None) -> list[Key]:
        """Keys of all objects, of one namespace, or of one owner."""
        chosen: Iterable[Key] = self._entries if owner is None else self._by_owner.get(owner, ())
        return [key for key in chosen if namespace is None or key[0] == namespace]

    def cached_before(self, moment: float) -> Iterator[Key]:
        """Keys that were last written before a moment of the monotonic clock."""
        return (key for key, entry in self._entries.items() if entry.cached_at < moment)

    def progressed(self, version: str, *, namespace: str = "") -> None:
        """Note how far the watch of a namespace (empty: of all) has come."""
        if version.isdigit():
            self._progress[namespace] = max(int(version), self._progress.get(namespace, 0))

    def put(self, manifest: Json) -> Change | None:
        """Take what a list or a watch brought, if it is newer than what is cached."""
        entry = self._entry(manifest)
        key = key_of(manifest)
        old = self._entries.get(key)
        if old is not None and old.version >= entry.version:
            return None
        self._set(key, entry)
        return self._change(key, old, entry)

    def put_response(self, manifest: Json) -> None:
        """Take the answer to a write of ours, if it is newer than what is cached.

        Where nothing is cached and the watch is already past the answer's version, the object was
        deleted meanwhile: the answer is older news.
        """
        entry = self._entry(manifest)
        key = key_of(manifest)
        old = self._entries.get(key)
        progress = max(self._progress.get("", 0), self._progress.get(key[0], 0))
        if entry.version > (progress if old is None else old.version):
            self._set(key, entry)

    def remove(self, manifest: Json) -> Change | None:
        """Drop what a watch says is deleted, unless a newer object of the name is cached already."""
        key = key_of(manifest)
        old = self._entries.get(key)
        if old is None or old.version > version_of(manifest):
            return None
        return self.drop(key)

    def drop(self, key: Key) -> Change | None:
        """Drop one object."""
        old = self._entries.pop(key, None)
        if old is None:
            return None
        self._unindex(key, old)
        return self._change(key, old, None)

    def swap(self, listed: Iterable[tuple[Key, Entry]], *, version: str, namespace: str = "") -> list[Change]:
        """Make a namespace (empty: everything) what a list says it is, in one step.

        Kept are objects newer than the list: answers to writes that happened since.
        """
        limit = int(version) if version.isdigit() else 0
        fresh = dict(listed)
        gone = [
            key
            for key, entry in self._entries.items()
            if (not namespace or key[0] == namespace) and key not in fresh and entry.version <= limit
        ]
        changes = [self.drop(key) for key in gone]
        for key, entry in fresh.items():
            old = self._entries.get(key)
            if old is None or old.version < entry.version:
                self._set(key, entry)
                changes.append(self._change(key, old, entry))
        self.progressed(version, namespace=namespace)
        return [change for change in changes if change is not None]

    def clear(self, *, namespace: str = "") -> list[Change]:
        """Drop everything in a namespace (empty: everything): the kind itself is gone."""
        keys = [key for key in self._entries if not namespace or key[0] == namespace]
        return [change for key in keys if (change := self.drop(key)) is not None]

    def compact(self, manifest: Json) -> tuple[Key, Entry]:
        """Key and entry of a manifest, for `swap`."""
        return key_of(manifest), self._entry(manifest)

    def _entry(self, manifest: Json) -> Entry:
        metadata = manifest["metadata"]
        reduce_managed_fields(metadata)
        return Entry(
            content=orjson.dumps(manifest),
            uid=metadata.get("uid", ""),
            version=version_of(manifest),
            owner=(metadata.get("labels") or {}).get(OWNER_UID, ""),
            cached_at=self._monotonic(),
        )

    def _set(self, key: Key, entry: Entry) -> None:
        old = self._entries.get(key)
        if old is not None:
            self._unindex(key, old)
        self._entries[key] = entry
        self._by_uid[entry.uid] = key
        if entry.owner:
            self._by_owner.setdefault(entry.owner, set()).add(key)

    def _unindex(self, key: Key, old: Entry) -> None:
        if self._by_uid.get(old.uid) == key:
            del self._by_uid[old.uid]
        keys = self._by_owner.get(old.owner)
        if keys is not None:
            keys.discard(key)
            if not keys:
                del self._by_owner[old.owner]

    def _change(self, key: Key, old: Entry | None, new: Entry | None) -> Change:
        owners = {entry.owner for entry in (old, new) if entry is not None and entry.owner}
        return Change(self.kind, *key, tuple(owners))


class Caches:
    """All stores together: the `Reader` that rooms observe with.

    Parameters
    ----------
    own
        Stores of our kinds.
    watched
        Stores of everything else, by kind and scope.
    """

    _PREFERENCE = (Scope.ALL, Scope.OWNED, Scope.METADATA)

    def __init__(self, own: Mapping[Kind, Store], watched: Mapping[tuple[Kind, Scope], Store]) -> None:
        self.own = own
        self.watched = watched
        kinds = {kind for kind, _ in watched} | set(own)
        self._stores = {kind: tuple(self._of(kind)) for kind in kinds}

    def _of(self, kind: Kind) -> Iterator[Store]:
        if kind in self.own:
            yield self.own[kind]
        for scope in self._PREFERENCE:
            if (kind, scope) in self.watched:
                yield self.watched[kind, scope]

    @property
    def synced(self) -> bool:
        """Whether every store has seen its first list."""
        return all(store.synced for store in self.all())

    def all(self) -> Iterator[Store]:
        """Every store."""
        for stores in self._stores.values():
            yield from stores

    def get(self, reference: Reference) -> Mapping[str, Any] | None:
        """Object as cached, or None."""
        key = (reference.namespace or "", reference.name)
        for store in self._stores.get(reference.kind, ()):
            entry = store.entry(key)
            if entry is not None:
                return decode(entry)
        return None

    def owned(self, kind: Kind, uid: str) -> Sequence[Mapping[str, Any]]:
        """Objects of a kind that carry the owner label with this UID, by name."""
        for store in self._stores.get(kind, ()):
            keys = sorted(store.keys(owner=uid))
            if keys:
                return [decode(entry) for key in keys if (entry := store.entry(key))]
        return ()

    def list(self, kind: Kind, namespace: str | None = None) -> Sequence[Mapping[str, Any]]:
        """All cached objects of a kind, of one namespace or of all, by name."""
        stores = self._stores.get(kind, ())
        # The widest scope: owned objects are only some.
        store = next((s for s in reversed(stores) if s in self._wide(kind)), stores[0] if stores else None)
        if store is None:
            return ()
        keys = sorted(store.keys(namespace=namespace))
        return [decode(entry) for key in keys if (entry := store.entry(key))]

    def available(self, kind: Kind) -> bool:
        """Whether the cluster serves the kind."""
        stores = self._stores.get(kind, ())
        return bool(stores) and all(store.available for store in stores)

    def put_response(self, kind: Kind, manifest: Json) -> None:
        """Take the answer to a write of ours into the stores that would hold it whole."""
        for store in self._stores.get(kind, ()):
            if store is not self.watched.get((kind, Scope.METADATA)):
                store.put_response(manifest)

    def child(self, reference: Reference) -> Mapping[str, Any] | None:
        """Child of ours as cached whole, or None: what only METADATA holds has no fields to compare."""
        key = (reference.namespace or "", reference.name)
        watched = (self.watched.get((reference.kind, scope)) for scope in (Scope.ALL, Scope.OWNED))
        for store in (self.own.get(reference.kind), *watched):
            entry = store.entry(key) if store is not None else None
            if entry is not None:
                return decode(entry)
        return None

    def _wide(self, kind: Kind) -> tuple[Store, ...]:
        found = (self.watched.get((kind, Scope.ALL)), self.watched.get((kind, Scope.METADATA)))
        return tuple(store for store in (self.own.get(kind), *found) if store is not None)


def decode(entry: Entry) -> Json:
    """Manifest of an entry; the caller's own copy."""
    manifest: Json = orjson.loads(entry.content)
    return manifest


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Namespace and name of a manifest."""
    metadata = manifest["metadata"]
    return metadata.get("namespace") or "", metadata["name"]


def version_of(manifest: Mapping[str, Any]) -> int:
    """Resource version of a manifest; versions of one cluster's objects are numbers that grow."""
    version = manifest["metadata"].get("resourceVersion", "")
    return int(version) if version.isdigit() else 0


def reduce_managed_fields(metadata: Json) -> None:
    """Keep of `managedFields` only what is asked: who scales. Drop kubectl's copy of the object."""
    managed = metadata.pop("managedFields", None)
    scalers = [
        {"manager": entry.get("manager", ""), "subresource": "scale"}
        for entry in managed or ()
        if entry.get("subresource") == "scale" and "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {})
    ]
    if scalers:
        metadata["managedFields"] = scalers
    annotations = metadata.get("annotations")
    if annotations:
        annotations.pop(_LAST_APPLIED, None)
