"""Objects that are not ours, not ours any more, or to be taken over."""

from __future__ import annotations

from datetime import timedelta

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, Reference
from innervate_kinds.api.names import ABANDON, FINALIZER, OWNER_UID
from innervate_operator.apply import failure_of
from innervate_operator.errors import ApiError

pytestmark = pytest.mark.contract


async def put(stage, *, owner=None, label=None, **content):
    metadata = {"name": "g-gadget", "namespace": stage.namespace}
    if label:
        metadata["labels"] = {OWNER_UID: label}
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": "test.innervate.dev/v1", "kind": "Gadget", "controller": True, **owner}
        ]
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **content}
    return await stage.admin.create(Reference.of(CONFIG_MAP, manifest), manifest, manager="somebody")


def told(stage, reason):
    async def check():
        found = await stage.condition()
        return found if found and found["reason"] == reason else None

    return check


async def test_not_owned_is_told_and_the_object_is_never_touched(stage, wait):
    before = await put(stage, data={"text": "theirs"})
    async with stage.engine() as engine:
        await stage.declare(text="ours")
        found = await wait(told(stage, "NotOwned"))
        assert "g-gadget" in found["message"]
        assert (await stage.condition("Stalled"))["status"] == "True"
        await wait(lambda: engine.queue.depth == 0 and engine.queue.running == 0)
        # Looking again is reading: the name is not tried a second time.
        writes, seen = stage.writes(), []
        engine.on_finished = lambda: seen.append(1)
        engine.requeue_all()
        await wait(lambda: seen)
        assert stage.writes() == writes
    assert await stage.admin.get(stage.child()) == before


async def test_not_owned_also_when_another_living_resource_controls_it(stage, wait):
    other = await stage.declare("other")
    before = await put(stage, owner={"name": "other", "uid": other["metadata"]["uid"]}, label="x")
    async with stage.engine():
        await stage.declare(text="ours")
        await wait(told(stage, "NotOwned"))
    assert await stage.admin.get(stage.child()) == before


async def test_a_dead_uid_is_waited_for_until_the_garbage_collector_is_done(stage, wait):
    dead = "00000000-0000-0000-0000-000000000000"
    left = await put(stage, owner={"name": "g", "uid": dead}, label=dead, data={"text": "old"})
    async with stage.engine():
        await stage.declare(text="new", secret=True)
        await wait(told(stage, "OwnerTerminating"))
        # Nothing is built on what is about to vanish.
        assert {verb for verb, _ in stage.writes()} == {"apply-status"}
        await stage.admin.delete(stage.child(), uid=left["metadata"]["uid"])
        await stage.ready()
        assert (await stage.admin.get(stage.child()))["data"] == {"text": "new"}


async def test_an_adoptable_object_without_a_living_owner_is_taken_over(stage):
    before = await put(stage, label="00000000-0000-0000-0000-000000000000", data={"kept": "yes"})
    async with stage.engine():
        await stage.declare(text="ours", adopt=True)
        gadget = await stage.ready()
    after = await stage.admin.get(stage.child())
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["data"] == {"kept": "yes", "text": "ours"}
    assert after["metadata"]["labels"][OWNER_UID] == gadget["metadata"]["uid"]


async def test_an_object_that_was_replaced_between_look_and_apply_is_not_touched(stage):
    live = await put(stage, data={"text": "first"})
    await stage.admin.delete(stage.child(), uid=live["metadata"]["uid"])
    second = await put(stage, data={"text": "second"})
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "g-gadget", "namespace": stage.namespace, "uid": live["metadata"]["uid"]},
        "data": {"text": "ours"},
    }
    for _ in range(2):
        with pytest.raises(ApiError) as caught:
            await stage.admin.apply(stage.child(), manifest, manager="innervate")
        failure = failure_of(stage.child(), caught.value)
        assert (failure.reason, failure.permanent) == ("Conflict", False)
        assert await stage.admin.get(stage.child()) == second
        # Once more with nothing in its place.
        if second is not None:
            await stage.admin.delete(stage.child(), uid=second["metadata"]["uid"])
            second = None


async def test_a_resource_that_is_being_deleted_gets_no_children(stage, wait):
    await stage.declare(text="x", annotations={})
    hold = {"metadata": {"finalizers": ["example.com/hold"]}}
    await stage.admin.merge(stage.gadget(), hold, manager="somebody")
    live = await stage.admin.get(stage.gadget())
    await stage.admin.delete(stage.gadget(), uid=live["metadata"]["uid"])
    async with stage.engine() as engine:
        seen = []
        engine.on_finished = lambda: seen.append(1)
        engine.requeue_all()
        await wait(lambda: seen)
    assert stage.writes() == {}
    await stage.admin.merge(stage.gadget(), {"metadata": {"finalizers": None}}, manager="somebody")


async def delete(stage, name="g"):
    live = await stage.admin.get(stage.gadget(name))
    await stage.admin.delete(stage.gadget(name), uid=live["metadata"]["uid"])


async def test_without_anything_outside_there_is_no_finalizer(stage):
    async with stage.engine():
        await stage.declare(text="x")
        gadget = await stage.ready()
    assert "finalizers" not in gadget["metadata"]


async def outside(stage, name):
    await stage.declare(name, outside=True)
    gadget = await stage.ready(name)
    assert gadget["metadata"]["finalizers"] == [FINALIZER]
    managers = {entry["manager"] for entry in gadget["metadata"]["managedFields"]}
    assert managers == {"test", "innervate-status", "innervate-finalizer"}
    summit = stage.child(stage.summit, name)
    assert await stage.admin.get(summit) is not None
    return summit


def gone(stage, reference):
    async def check():
        return await stage.admin.get(reference) is None

    return check


async def test_what_is_outside_is_held_by_our_finalizer_undone_and_released(stage, wait):
    name = f"undone-{stage.namespace}"
    async with stage.engine(stage.undoing):
        summit = await outside(stage, name)
        await delete(stage, name)
        await wait(gone(stage, stage.gadget(name)))
    assert await stage.admin.get(summit) is None


async def test_abandon_releases_without_undoing(stage, wait):
    name = f"abandoned-{stage.namespace}"
    async with stage.engine(stage.undoing):
        summit = await outside(stage, name)
        await stage.declare(name, annotations={ABANDON: "true"}, outside=True)
        await delete(stage, name)
        await wait(gone(stage, stage.gadget(name)))
    left = await stage.admin.get(summit)
    await stage.admin.delete(summit, uid=left["metadata"]["uid"])


async def test_after_ten_minutes_a_resource_is_released_and_the_rest_named(stage, wait):
    name = f"stuck-{stage.namespace}"
    async with stage.engine(stage.undoing) as engine:
        summit = await outside(stage, name)
        hold = {"metadata": {"finalizers": ["example.com/hold"]}}
        await stage.admin.merge(summit, hold, manager="somebody")
        await delete(stage, name)

        async def waits():
            found = await stage.admin.get(summit)
            return "deletionTimestamp" in found["metadata"]

        await wait(waits)
        assert await stage.admin.get(stage.gadget(name)) is not None
        # The test moves the operator's time of day, not the cluster's.
        now = engine.clock.now()
        engine.clock.now = lambda: now + timedelta(minutes=11)
        engine.requeue_all()
        await wait(gone(stage, stage.gadget(name)))
    await stage.admin.merge(summit, {"metadata": {"finalizers": None}}, manager="somebody")


async def test_somebody_elses_object_outside_is_not_deleted(stage, wait):
    name = f"foreign-{stage.namespace}"
    summit = stage.child(stage.summit, name)
    manifest = {
        "apiVersion": stage.summit.api_version,
        "kind": "Summit",
        "metadata": {"name": summit.name},
    }
    before = await stage.admin.create(summit, manifest, manager="somebody")
    async with stage.engine(stage.undoing):
        await stage.declare(name)
        await stage.ready(name)
        await delete(stage, name)
        await wait(gone(stage, stage.gadget(name)))
    assert await stage.admin.get(summit) == before
    await stage.admin.delete(summit, uid=before["metadata"]["uid"])
