"""Fields set on an object that is not ours: under a manager of their own, only where they differ."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from innervate_kinds.api.kind import Reference
from innervate_kinds.api.plan import Patch, Plan

pytestmark = pytest.mark.contract
STEERING = "test-steering"


@dataclass(frozen=True)
class Seen:
    source: str
    widgets: bool
    uid: str | None


@pytest.fixture
def room(stage):
    """A gadget that names another as its source, and makes it say what it says itself."""

    def other(gadget):
        return Reference(stage.room.kind, gadget.metadata.namespace, gadget.spec.source)

    def observe(gadget, reader, _probes):
        found = reader.get(other(gadget)) if gadget.spec.source else None
        return Seen("", widgets=False, uid=found["metadata"]["uid"] if found else None)

    def plan(gadget, observed, _config, _now):
        if observed.uid is None:
            return Plan()
        kind, namespace, name = other(gadget)
        metadata = {"name": name, "namespace": namespace, "uid": observed.uid}
        manifest = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": metadata,
            "spec": {"text": gadget.spec.text, "list": [{"name": "a", "weight": 1}]},
        }
        return Plan(patches=(Patch(kind, manifest, STEERING),))

    return replace(
        stage.room,
        references=lambda gadget: [other(gadget)] if gadget.spec.source else [],
        observe=observe,
        plan=plan,
    )


def managers(found):
    return {entry["manager"] for entry in found["metadata"]["managedFields"]}


async def test_a_patch_takes_its_fields_and_no_other(stage, room, wait):
    async with stage.engine(room):
        await stage.declare("pool", text="before", replicas=3)
        await stage.declare("steer", source="pool", text="after")

        async def steered():
            return (await stage.admin.get(stage.gadget("pool")))["spec"].get("text") == "after"

        await wait(steered)
        pool = await stage.admin.get(stage.gadget("pool"))
        assert pool["spec"]["replicas"] == 3
        assert STEERING in managers(pool)
        assert "ownerReferences" not in pool["metadata"]


async def test_what_is_so_already_is_not_written_again(stage, room, wait):
    async with stage.engine(room, resync_seconds=0.1) as engine:
        await stage.declare("pool", text="before")
        await stage.declare("steer", source="pool", text="after")
        await stage.ready("steer")
        await wait(lambda: engine.queue.depth == 0 and engine.queue.running == 0)
        before, seen = stage.writes(), []
        engine.on_finished = lambda: seen.append(1)
        await wait(lambda: len(seen) >= 10)
        assert stage.writes() == before


async def test_somebody_elses_change_is_taken_back_and_a_longer_list_too(stage, room, wait):
    async with stage.engine(room):
        await stage.declare("pool", text="before")
        await stage.declare("steer", source="pool", text="after")
        await stage.ready("steer")
        theirs = {"spec": {"list": [{"name": "a", "weight": 1}, {"name": "b", "weight": 2}]}}
        await stage.admin.merge(stage.gadget("pool"), theirs, manager="somebody")

        async def restored():
            return len((await stage.admin.get(stage.gadget("pool")))["spec"]["list"]) == 1

        await wait(restored)


async def test_an_object_that_took_the_name_is_not_patched(stage, room, wait):
    async with stage.engine(room, kopf=False) as engine:
        await stage.declare("pool", text="before")
        old = await stage.admin.get(stage.gadget("pool"))
        await engine.own.fill()
        # The name goes to another before the patch is sent, and nobody tells the cache.
        await stage.admin.delete(stage.gadget("pool"), uid=old["metadata"]["uid"])
        await stage.declare("pool", text="another")
        await stage.declare("steer", source="pool", text="after")
        steer = await stage.admin.get(stage.gadget("steer"))
        engine.own.event(stage.room.kind, "ADDED", steer)

        async def told():
            return await stage.condition(name="steer")

        await wait(told)
        condition = await told()
        pool = await stage.admin.get(stage.gadget("pool"))
    assert (condition["status"], condition["reason"]) == ("False", "Conflict")
    assert pool["spec"]["text"] == "another"
