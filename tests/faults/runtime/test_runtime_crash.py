"""A crash before and after every write of a MemoryStore's life leads to the same final state."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Reference,
)
from innervate_kinds.registry import ROOMS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
(ROOM,) = (room for room in ROOMS if room.kind.kind == "MemoryStore")
STORE = ROOM.kind
CHILDREN = (
    CONFIG_MAP,
    DEPLOYMENT,
    NETWORK_POLICY,
    PERSISTENT_VOLUME_CLAIM,
    POD_DISRUPTION_BUDGET,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)
AT_ONCE = 4
UNSTABLE = {
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
    "lastTransitionTime",
    "managedFields",
    "observedGeneration",
    "resourceVersion",
    "uid",
    "clusterIP",
    "clusterIPs",
    "innervate.dev/desired-hash",
    "deployment.kubernetes.io/revision",
}


def stable(value: Any) -> Any:
    """What is left of an object when everything is taken out that differs from run to run."""
    if isinstance(value, dict):
        return {key: stable(content) for key, content in sorted(value.items()) if key not in UNSTABLE}
    return [stable(item) for item in value] if isinstance(value, list) else value


async def state(admin, namespace):
    """Everything of a namespace, comparable between namespaces and runs."""
    found = {}
    for kind in (*CHILDREN, STORE):
        async for page in admin.pages(kind, namespace):
            for item in page.items:
                if item["metadata"]["name"] in {"kube-root-ca.crt", "default"}:
                    continue
                if kind is not STORE:
                    item.pop("status", None)
                if kind is SECRET:
                    item["data"] = {key: len(value) for key, value in item["data"].items()}
                found[f"{kind.kind} {item['metadata']['name']}"] = stable(item)
    text = json.dumps(found).replace(namespace, "NAMESPACE")
    # Owners' UIDs, and digests over what names the namespace.
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID", text)
    return json.loads(
        re.sub(r'"innervate.dev/config-hash": "[0-9a-f]+"', '"innervate.dev/config-hash": ""', text)
    )


async def declare(admin, namespace, **spec):
    manifest = {
        "apiVersion": STORE.api_version,
        "kind": STORE.kind,
        "metadata": {"name": "m", "namespace": namespace},
        "spec": spec,
    }
    await admin.apply(Reference.of(STORE, manifest), manifest, manager="test")


async def first(admin, namespace):
    await declare(admin, namespace, service={"replicas": 2})


async def second(admin, namespace):
    await declare(admin, namespace, service={"replicas": 1}, storage={"redis": {"memory": "512Mi"}})


async def last(admin, namespace):
    reference = Reference(STORE, namespace, "m")
    live = await admin.get(reference)
    await admin.delete(reference, uid=live["metadata"]["uid"])


PHASES = (first, second, last)


async def quiet(admin, namespace):
    """The state once it stays the same for a while."""
    found, since = None, 0
    while since < 10:
        now = await state(admin, namespace)
        found, since = (now, 0) if now != found else (found, since + 1)
        await asyncio.sleep(0.2)
    return found


async def retained(admin, namespace):
    """The state once the garbage collector has done its work; it learns of new kinds every half minute."""
    for _ in range(450):
        found = await state(admin, namespace)
        if [name.split()[0] for name in found] == ["PersistentVolumeClaim"]:
            break
        await asyncio.sleep(0.2)
    return await quiet(admin, namespace)


async def same(admin, namespace, expected):
    differing = {}
    for _ in range(300):
        now = await state(admin, namespace)
        differing = {
            name: (now.get(name), expected.get(name))
            for name in {*now, *expected}
            if now.get(name) != expected.get(name)
        }
        if not differing:
            return
        await asyncio.sleep(0.2)
    pytest.fail(json.dumps(differing, indent=1))


async def test_a_crash_before_and_after_every_write_leads_to_the_same_state(plane, admin, namespace, operate):
    reference = await namespace("crash-reference")
    expected, writes = [], []
    for phase in PHASES:
        async with operate(plane, ROOM, reference) as (_, fate):
            await phase(admin, reference)
            expected.append(await (retained if phase is last else quiet)(admin, reference))
            writes.append(list(fate.writes))
    # Created whole, changed, and gone but for the data, which is retained.
    assert {name.split()[0] for name in expected[0]} == {kind.kind for kind in (*CHILDREN, STORE)}
    assert expected[1] != expected[0]
    assert [name.split()[0] for name in expected[2]] == ["PersistentVolumeClaim"]
    assert len(writes[0]) <= len(expected[0]) - 1 + 3

    places = asyncio.Semaphore(AT_ONCE)

    async def life(number, crashing, at, *, before):
        async with places:
            mine = await namespace(f"crash-{number}")
            for phase, outcome in zip(PHASES[:crashing], expected, strict=False):
                async with operate(plane, ROOM, mine):
                    await phase(admin, mine)
                    await same(admin, mine, outcome)
            async with operate(plane, ROOM, mine, dies_at=at, before=before) as (work, _):
                await PHASES[crashing](admin, mine)
                await asyncio.wait([work], timeout=120)
                assert work.done(), f"no such write came: {at}"
            async with operate(plane, ROOM, mine):
                await same(admin, mine, expected[crashing])

    # By what is written and not by its number: how often the status is told depends on the machine's
    # speed. The last phase is the garbage collector's; what the operator writes there is chance.
    lives = [
        (phase, at, before)
        for phase in range(len(PHASES) - 1)
        for at in sorted(set(writes[phase]))
        for before in (True, False)
    ]
    assert len(lives) >= 30
    async with asyncio.TaskGroup() as group:
        for number, (phase, at, before) in enumerate(lives):
            group.create_task(life(number, phase, at, before=before))


async def test_a_crash_between_deletion_and_its_end_makes_nothing_again(plane, admin, namespace, operate):
    mine = await namespace("crash-deletion")
    async with operate(plane, ROOM, mine):
        await first(admin, mine)
        await quiet(admin, mine)
    # Nobody watches while it is deleted.
    await last(admin, mine)
    async with operate(plane, ROOM, mine) as (_, fate):
        found = await retained(admin, mine)
        assert [name.split()[0] for name in found] == ["PersistentVolumeClaim"]
        assert fate.writes == []


async def test_a_store_that_is_deleted_and_made_again_at_once_comes_up_whole(
    plane, admin, namespace, operate
):
    mine = await namespace("crash-again")
    async with operate(plane, ROOM, mine):
        await declare(admin, mine, reclaimPolicy="Delete")
        before = await quiet(admin, mine)
        for _ in range(3):
            await last(admin, mine)
            await declare(admin, mine, reclaimPolicy="Delete")
            await same(admin, mine, before)
