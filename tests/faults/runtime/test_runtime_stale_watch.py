"""An API server that goes and comes back without its memory of past versions."""

from __future__ import annotations

import asyncio

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, Reference
from innervate_kinds.api.names import OWNER_UID
from innervate_kinds.api.room import Scope
from innervate_local.control_plane import ControlPlane
from innervate_operator import credentials
from innervate_operator.cache import Store
from innervate_operator.client import Client, Open, Transport
from innervate_operator.clock import SystemClock
from innervate_operator.errors import ApiError
from innervate_operator.reflector import Reflector

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


async def connect(plane):
    transport = Transport(credentials.load(plane.kubeconfig))
    return transport, Client(transport, Open())


async def create(client, name):
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "labels": {OWNER_UID: "uid-1"}},
    }
    return await client.create(Reference.of(CONFIG_MAP, manifest), manifest, manager="test")


async def follow(reflecting, seconds=0.0):
    task = asyncio.create_task(reflecting.run())
    await asyncio.sleep(seconds)
    return task


async def stop(task):
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_version_the_server_forgot_leads_to_a_new_list_that_finds_missed_deletions(tmp_path, wait):
    plane = ControlPlane(tmp_path / "plane")
    await asyncio.to_thread(plane.start)
    try:
        transport, client = await connect(plane)
        store, changes = Store(CONFIG_MAP, SystemClock().monotonic), []
        made = [await create(client, name) for name in ("kept", "gone")]

        def reflector(client):
            return Reflector(
                client,
                store,
                scope=Scope.OWNED,
                namespace=None,
                optional=False,
                clock=SystemClock(),
                on_change=changes.append,
            )

        first = reflector(client)
        task = await follow(first)
        await wait(lambda: len(store) == 2)
        await stop(task)
        await client.delete(Reference.of(CONFIG_MAP, made[1]), uid=made[1]["metadata"]["uid"])
        for number in range(5):
            await create(client, f"new-{number}")
        await transport.close()

        # The restarted server keeps no history from before: the old position is gone.
        await asyncio.to_thread(plane.stop)
        await asyncio.to_thread(plane.start)
        transport, client = await connect(plane)
        changes.clear()
        with pytest.raises(ApiError) as caught:
            async for _ in client.watch(CONFIG_MAP, resource_version=first._version):
                pass
        assert caught.value.status == 410
        second = reflector(client)
        second._version = first._version
        task = await follow(second)
        await wait(lambda: len(store) == 6)
        await stop(task)
        assert {change.name for change in changes} == {"gone", *(f"new-{number}" for number in range(5))}
        await transport.close()
    finally:
        await asyncio.to_thread(plane.stop)


async def test_an_outage_of_the_server_does_not_end_the_reflector(tmp_path, wait):
    plane = ControlPlane(tmp_path / "plane")
    await asyncio.to_thread(plane.start)
    try:
        transport, client = await connect(plane)
        store = Store(CONFIG_MAP, SystemClock().monotonic)
        reflecting = Reflector(
            client,
            store,
            scope=Scope.OWNED,
            namespace=None,
            optional=False,
            clock=SystemClock(),
            on_change=lambda _: None,
        )
        task = await follow(reflecting)
        await create(client, "one")
        await wait(lambda: len(store) == 1)
        await asyncio.to_thread(plane.stop)
        await asyncio.sleep(1)
        assert not task.done()
        # What is known stays known while nobody answers.
        assert len(store) == 1
    finally:
        await asyncio.to_thread(plane.stop)
    await stop(task)
    await transport.close()
