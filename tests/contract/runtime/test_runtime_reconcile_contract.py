"""A resource's life on a real API server: made, kept, changed, said."""

from __future__ import annotations

import asyncio

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, DEPLOYMENT, SECRET, Kind, Reference
from innervate_kinds.api.names import DESIRED_HASH, OWNER_UID

pytestmark = pytest.mark.contract
EVENTS = Kind("events.k8s.io", "v1", "Event", "events")


async def test_a_resource_gets_its_children_and_one_status_with_no_write_too_many(stage):
    async with stage.engine():
        await stage.declare(text="hello")
        gadget = await stage.ready()
        config = await stage.admin.get(stage.child())
    assert config["data"] == {"text": "hello"}
    assert config["metadata"]["labels"][OWNER_UID] == gadget["metadata"]["uid"]
    assert config["metadata"]["ownerReferences"][0]["uid"] == gadget["metadata"]["uid"]
    assert config["metadata"]["annotations"][DESIRED_HASH]
    assert stage.writes() == {
        ("apply", "ConfigMap"): 1,
        ("apply", "Deployment"): 1,
        ("apply-status", "Gadget"): 1,
    }
    managers = {entry["manager"] for entry in gadget["metadata"]["managedFields"]}
    assert managers == {"test", "innervate-status"}
    assert {entry["manager"] for entry in config["metadata"]["managedFields"]} == {"innervate"}


async def test_a_restart_of_an_unchanged_cluster_writes_nothing(stage, wait):
    async with stage.engine():
        await stage.declare(text="hello", secret=True)
        await stage.ready()
    before = stage.writes()
    for _ in range(2):
        async with stage.engine() as engine:
            seen = []
            engine.on_finished = lambda seen=seen: seen.append(1)
            await wait(lambda seen=seen: seen)
    assert stage.writes() == before


async def test_idle_resyncs_write_nothing(stage, wait):
    async with stage.engine(resync_seconds=0.1) as engine:
        await stage.declare(text="hello", secret=True)
        await stage.ready()
        await wait(lambda: engine.queue.depth == 0 and engine.queue.running == 0)
        before, seen = stage.writes(), []
        engine.on_finished = lambda: seen.append(1)
        await wait(lambda: len(seen) >= 10)
        assert stage.writes() == before


async def test_a_changed_spec_is_applied_and_told(stage):
    async with stage.engine():
        await stage.declare(text="one")
        await stage.ready()
        await stage.declare(text="two")
        gadget = await stage.ready()
        assert gadget["status"]["observedGeneration"] == 2
        assert gadget["status"]["text"] == "two"
        assert (await stage.admin.get(stage.child()))["data"] == {"text": "two"}


async def test_drift_is_repaired(stage, wait):
    async with stage.engine():
        await stage.declare(text="ours")
        await stage.ready()
        await stage.admin.merge(stage.child(), {"data": {"text": "theirs", "more": "x"}}, manager="somebody")

        async def repaired():
            return (await stage.admin.get(stage.child()))["data"]["text"] == "ours"

        await wait(repaired)
        # What is not ours stays.
        assert (await stage.admin.get(stage.child()))["data"]["more"] == "x"


async def test_a_deleted_child_is_made_again(stage, wait):
    async with stage.engine():
        await stage.declare(text="ours")
        await stage.ready()
        first = await stage.admin.get(stage.child())
        await stage.admin.delete(stage.child(), uid=first["metadata"]["uid"])

        async def back():
            return await stage.admin.get(stage.child())

        assert (await wait(back))["metadata"]["uid"] != first["metadata"]["uid"]


async def test_a_child_that_the_plan_drops_is_deleted(stage, wait):
    async with stage.engine():
        await stage.declare(text="x")
        await stage.ready()
        await stage.declare(config=False)

        async def gone():
            return await stage.admin.get(stage.child()) is None

        await wait(gone)
        await stage.ready()


async def test_an_ensured_secret_is_created_once_and_never_read_or_written_again(stage):
    async with stage.engine():
        await stage.declare(secret=True)
        await stage.ready()
        secret = await stage.admin.get(stage.child(SECRET))
        assert len(secret["data"]["password"]) > 40
        await stage.declare(secret=True, text="changed")
        await stage.ready()
    async with stage.engine():
        await stage.declare(secret=True, text="again")
        await stage.ready()
    assert stage.writes()["create", "Secret"] == 1
    assert await stage.admin.get(stage.child(SECRET)) == secret


async def test_an_ensured_secret_that_was_there_before_is_doubted_and_then_left_alone(stage, wait):
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "g-gadget", "namespace": stage.namespace},
        "stringData": {"password": "mine"},
    }
    before = await stage.admin.create(Reference.of(SECRET, manifest), manifest, manager="test")
    async with stage.engine():
        await stage.declare(secret=True)
        await stage.ready()
        await wait(lambda: stage.writes()["create", "Secret"] == 2)
        await wait(lambda: stage.writes()["apply", "ConfigMap"] == 2)
    assert await stage.admin.get(stage.child(SECRET)) == before


async def test_replicas_belong_to_the_autoscaler_once_it_scaled(stage, wait):
    async with stage.engine():
        await stage.declare(replicas=1)
        await stage.ready()
        scale = {"spec": {"replicas": 5}}
        await stage.admin.merge(
            stage.child(DEPLOYMENT), scale, manager="kube-controller-manager", subresource="scale"
        )
        await stage.declare(replicas=1, text="changed")
        await stage.ready()

        async def settled():
            found = await stage.admin.get(stage.child(DEPLOYMENT))
            ours = next(e for e in found["metadata"]["managedFields"] if e["manager"] == "innervate")
            return "f:replicas" not in ours["fieldsV1"]["f:spec"] and found

        assert (await wait(settled))["spec"]["replicas"] == 5


async def test_kubectl_scale_is_drift_and_repaired(stage, wait):
    async with stage.engine():
        await stage.declare(replicas=1)
        await stage.ready()
        await stage.admin.merge(
            stage.child(DEPLOYMENT), {"spec": {"replicas": 5}}, manager="kubectl", subresource="scale"
        )

        async def repaired():
            return (await stage.admin.get(stage.child(DEPLOYMENT)))["spec"]["replicas"] == 1

        await wait(repaired)


async def test_a_reference_wakes_the_resource_when_it_appears_changes_and_goes(stage, wait):
    async def copied(text):
        async def check():
            found = await stage.admin.get(stage.gadget())
            return ((found.get("status") or {}).get("copied") or "") == text

        await wait(check)

    source = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "source", "namespace": stage.namespace, "annotations": {"say": "one"}},
    }
    reference = Reference.of(CONFIG_MAP, source)
    async with stage.engine():
        await stage.declare(source="source")
        await stage.ready()
        made = await stage.admin.create(reference, source, manager="test")
        await copied("one")
        await stage.admin.merge(reference, {"metadata": {"annotations": {"say": "two"}}}, manager="test")
        await copied("two")
        await stage.admin.delete(reference, uid=made["metadata"]["uid"])
        await copied("")


async def test_rejected_is_stalled_and_does_not_loop(stage, wait):
    async with stage.engine() as engine:
        await stage.declare(trouble="rejected")
        stalled = await wait(lambda: stage.condition("Stalled"))
        assert (stalled["status"], stalled["reason"]) == ("True", "Refused")
        assert (await stage.condition("Ready"))["status"] == "False"
        await wait(lambda: engine.queue.depth == 0 and engine.queue.running == 0)
        seen = []
        engine.on_finished = lambda: seen.append(1)
        await asyncio.sleep(0.5)
        assert seen == []
        await stage.declare(text="mended")
        await stage.ready()
        assert await stage.condition("Stalled") is None


async def test_retryable_is_tried_again_and_told_once(stage, wait):
    async with stage.engine() as engine:
        seen = []
        engine.on_finished = lambda: seen.append(1)
        await stage.declare(trouble="retryable")
        await wait(lambda: len(seen) >= 4)
        told = await stage.condition("Reconciling")
        assert (told["status"], told["reason"]) == ("True", "Later")
        assert stage.writes() == {("apply-status", "Gadget"): 1}


async def test_a_bug_never_shows_a_traceback_and_backs_off(stage, wait):
    async with stage.engine() as engine:
        seen = []
        engine.on_finished = lambda: seen.append(1)
        await stage.declare(trouble="bug")
        await wait(lambda: len(seen) >= 3)
        told = await stage.condition("Reconciling")
        assert told["reason"] == "InternalError"
        assert "Traceback" not in told["message"]
        assert "a mistake of ours" not in told["message"]
        assert stage.writes() == {("apply-status", "Gadget"): 1}
        await stage.declare(text="mended")
        await stage.ready()


async def test_a_resource_that_cannot_be_read_is_rejected_with_the_field(stage, wait):
    async with stage.engine():
        await stage.declare(replicas="many")
        stalled = await wait(lambda: stage.condition("Stalled"))
        assert stalled["reason"] == "InvalidSpec"
        assert "spec.replicas" in stalled["message"]


async def test_a_child_that_the_server_refuses_is_told_in_its_words(stage, wait):
    async with stage.engine():
        await stage.declare(replicas=-1)

        async def told():
            found = await stage.condition()
            return found if found and found["status"] == "False" else None

        found = await wait(told)
        assert found["reason"] == "Invalid"
        assert "spec.replicas" in found["message"]
        assert await stage.admin.get(stage.child()) is not None


async def test_a_paused_resource_is_left_alone_and_says_so(stage, wait):
    async with stage.engine():
        await stage.declare(text="one")
        await stage.ready()
        await stage.declare(text="two", annotations={"innervate.dev/paused": "true"})

        async def paused():
            found = await stage.admin.get(stage.gadget())
            return next((c for c in found["status"]["conditions"] if c["type"] == "Paused"), None)

        assert (await wait(paused))["status"] == "True"
        assert (await stage.admin.get(stage.child()))["data"] == {"text": "one"}
        await stage.declare(text="two")
        gadget = await stage.ready()
        assert "Paused" not in {c["type"] for c in gadget["status"]["conditions"]}
        assert (await stage.admin.get(stage.child()))["data"] == {"text": "two"}


async def test_events_tell_a_transition_once(stage, wait):
    async def events():
        found = []
        async for page in stage.admin.pages(EVENTS, stage.namespace):
            found += [item for item in page.items if item["regarding"]["name"] == "g"]
        return found

    async with stage.engine(resync_seconds=0.1) as engine:
        await stage.declare(text="one")
        (event,) = await wait(events)
        seen = []
        engine.on_finished = lambda: seen.append(1)
        await wait(lambda: len(seen) > 5)
        assert len(await events()) == 1
    assert (event["reason"], event["type"]) == ("BecameReady", "Normal")
    assert event["note"].startswith("Became ready")
    assert event["regarding"]["kind"] == "Gadget"
