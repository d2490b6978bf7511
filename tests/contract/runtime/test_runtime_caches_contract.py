"""Caches against a real API server: pages, watches, lists that swap, kinds that come and go."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.room import Scope
from innervate_operator import client as client_module
from innervate_operator.cache import Store
from innervate_operator.clock import SystemClock
from innervate_operator.reflector import Reflector

pytestmark = pytest.mark.contract


def config_map(stage, name, **metadata):
    metadata = {"name": name, "namespace": stage.namespace, **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": name}}


async def create(stage, name, **metadata):
    manifest = config_map(stage, name, **metadata)
    return await stage.admin.create(Reference.of(CONFIG_MAP, manifest), manifest, manager="test")


def reflector(stage, store, changes, *, scope=Scope.OWNED):
    return Reflector(
        stage.admin,
        store,
        scope=scope,
        namespace=stage.namespace,
        optional=False,
        clock=SystemClock(),
        on_change=changes.append,
    )


@contextlib.asynccontextmanager
async def running(reflecting):
    task = asyncio.create_task(reflecting.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def store():
    return Store(CONFIG_MAP, SystemClock().monotonic)


def names(store):
    return sorted(name for _, name in store.keys(owner="uid-1"))


async def test_a_list_comes_in_pages_and_the_watch_goes_on_from_it(stage, store, wait, monkeypatch):
    monkeypatch.setattr(client_module, "PAGE", 3)
    for number in range(8):
        await create(stage, f"c{number}", labels={OWNER_UID: "uid-1"})
    await create(stage, "not-ours")
    changes = []
    async with running(reflector(stage, store, changes)):
        await wait(lambda: len(store) == 8)
        first = await create(stage, "later", labels={OWNER_UID: "uid-1"})
        await wait(lambda: "later" in names(store))
        await stage.admin.delete(Reference.of(CONFIG_MAP, first), uid=first["metadata"]["uid"])
        await wait(lambda: "later" not in names(store))
    assert len(store) == 8
    assert [change.name for change in changes[-2:]] == ["later", "later"]


async def test_an_object_that_loses_its_label_leaves_and_its_owner_is_told(stage, store, wait):
    made = await create(stage, "c", labels={OWNER_UID: "uid-1"})
    changes = []
    async with running(reflector(stage, store, changes)):
        await wait(lambda: len(store) == 1)
        await stage.admin.merge(
            Reference.of(CONFIG_MAP, made), {"metadata": {"labels": {OWNER_UID: None}}}, manager="test"
        )
        await wait(lambda: len(store) == 0)
    assert changes[-1].owners == ("uid-1",)


async def test_metadata_scope_holds_no_content(stage, store, wait):
    await create(stage, "c")
    async with running(reflector(stage, store, [], scope=Scope.METADATA)):
        entry = await wait(lambda: store.entry((stage.namespace, "c")))
    assert b'"data"' not in entry.content
    assert b'"uid"' in entry.content


async def test_a_relist_swaps_and_deletions_that_nobody_watched_are_noticed(stage, store, wait):
    kept = await create(stage, "kept", labels={OWNER_UID: "uid-1"})
    gone = await create(stage, "gone", labels={OWNER_UID: "uid-1"})
    changes = []
    reflecting = reflector(stage, store, changes)
    async with running(reflecting):
        await wait(lambda: len(store) == 2)
    # Nobody watches while this happens, and then the position is lost.
    await stage.admin.delete(Reference.of(CONFIG_MAP, gone), uid=gone["metadata"]["uid"])
    await create(stage, "new", labels={OWNER_UID: "uid-1"})
    changes.clear()
    reflecting._version = ""
    async with running(reflecting):
        await wait(lambda: names(store) == ["kept", "new"])
    assert {change.name for change in changes} == {"gone", "new"}
    assert store.key_of(kept["metadata"]["uid"])


async def test_an_optional_kind_that_comes_and_goes_does_not_end_the_operator(stage, wait, monkeypatch):
    monkeypatch.setattr("innervate_operator.reflector._ABSENT_SECONDS", 0.2)
    crd = stage.definition(stage.widget)
    reference = Reference.of(stage.crd, crd)

    async def widgets(expected):
        async def check():
            found = await stage.admin.get(stage.gadget())
            return ((found.get("status") or {}).get("widgets") or False) is expected

        await wait(check)

    async with stage.engine(resync_seconds=0.2):
        await stage.declare(text="x")
        await stage.ready()
        await widgets(False)
        made = await stage.admin.create(reference, crd, manager="test")
        await widgets(True)
        await stage.admin.delete(reference, uid=made["metadata"]["uid"])
        await widgets(False)
        await stage.declare(text="y")
        await stage.ready()


async def test_a_deletion_that_every_watch_missed_is_found_by_the_timed_list(stage):
    """Without kopf at all: nobody tells of the deletion."""
    await stage.declare("g", text="x")
    await stage.declare("stays", text="x")
    async with stage.engine(kopf=False) as engine:
        await stage.ready("g")
        await stage.ready("stays")
        live = await stage.admin.get(stage.gadget())
        await stage.admin.delete(stage.gadget(), uid=live["metadata"]["uid"])
        store = engine.caches.own[stage.room.kind]
        assert len(store) == 2
        await engine.own.confirm()
        assert store.keys() == [(stage.namespace, "stays")]


async def test_what_was_made_while_the_timed_list_ran_is_not_dropped(stage):
    async with stage.engine(kopf=False) as engine:
        store = engine.caches.own[stage.room.kind]
        made = await stage.declare("late", text="x")
        listed = []

        async def pages(*_, **__):
            # The list saw nothing; the object enters the cache while it is under way.
            engine.own.event(stage.room.kind, "ADDED", made)
            listed.append(1)
            return
            yield

        real = engine.own._client
        engine.own._client = type("Late", (), {"pages": pages, "get": real.get})()
        await engine.own.confirm()
        engine.own._client = real
        assert listed
        assert store.keys() == [(stage.namespace, "late")]


async def test_a_key_in_the_cache_that_the_list_lacks_is_kept_when_a_read_finds_it(stage):
    await stage.declare("g", text="x")
    async with stage.engine(kopf=False) as engine:
        store = engine.caches.own[stage.room.kind]
        real = engine.own._client

        async def pages(*_, **__):
            return
            yield

        engine.own._client = type("Blind", (), {"pages": pages, "get": real.get})()
        await engine.own.confirm()
        engine.own._client = real
        assert store.keys() == [(stage.namespace, "g")]
