"""How kopf is kept to watching."""

from __future__ import annotations

import operator

from innervate_kinds.api.kind import Kind
from innervate_kinds.api.names import FINALIZER
from innervate_operator.cache import Caches, Store
from innervate_operator.credentials import Credentials
from innervate_operator.watching import OwnKinds, kopf_settings, registry

GADGET = Kind("innervate.dev", "v1alpha1", "Gadget", "gadgets")


def manifest(version):
    return {
        "metadata": {"name": "g", "namespace": "shop", "uid": "u", "resourceVersion": str(version)},
        "spec": {},
    }


def test_kopf_strips_a_finalizer_that_is_not_ours_and_peers_with_nobody():
    settings = kopf_settings(scanning=True)
    assert settings.persistence.finalizer != FINALIZER
    assert settings.peering.standalone
    assert not settings.scanning.disabled
    assert kopf_settings(scanning=False).scanning.disabled
    assert not settings.posting.enabled
    assert settings.networking.request_timeout <= 60


async def test_kopf_is_given_event_handlers_alone_and_they_return_nothing(clock):
    store, changes = Store(GADGET, clock.monotonic), []
    own = OwnKinds(None, Caches({GADGET: store}, {}), namespaces=(), clock=clock, on_change=changes.append)
    handlers = registry(own, [GADGET], Credentials(connection=None))
    assert not handlers._changing._handlers
    assert not handlers._spawning._handlers
    (handler,) = handlers._watching._handlers
    assert await handler.fn(event={"type": "ADDED", "object": manifest(1)}) is None
    assert await handler.fn(event={"type": None, "object": manifest(1)}) is None
    assert await handler.fn(event={"type": "MODIFIED", "object": manifest(2)}) is None
    assert len(changes) == 2
    assert await handler.fn(event={"type": "DELETED", "object": manifest(3)}) is None
    assert len(store) == 0
    assert len(changes) == 3


def test_the_folder_named_operator_does_not_hide_the_standard_library():
    assert operator.itemgetter(1)("ab") == "b"
