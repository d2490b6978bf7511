"""The asyncio client against a real memory service."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from innervate import AsyncMemoryClient, Filter, NewRecord, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.unit.client.conftest import Service


@pytest.fixture
async def client(service: Service, request: pytest.FixtureRequest) -> AsyncIterator[AsyncMemoryClient]:
    account = f"aio-{request.node.name}".replace("_", "-")
    async with AsyncMemoryClient.connect(
        service.endpoint, ca=service.cluster.authority.pem, token=lambda: service.token(account)
    ) as client:
        yield client


async def test_every_call_once(client: AsyncMemoryClient) -> None:
    put = await client.put(NewRecord(text="The breaker trips when both pumps start.", session_id="monday"))
    assert [hit.record.id for hit in await client.search("breaker")] == [put.id]
    assert (await client.get([put.id])).records[0].session_id == "monday"
    new = await client.supersede(put.id, "The breaker holds.")
    assert [record.id async for record in client.list(page_size=1)] == [new.id]
    assert await client.forget(everything=True) == 2
    assert (await client.stats(space="aio-test-every-call-once")).records == 0


async def test_many_calls_at_once(client: AsyncMemoryClient) -> None:
    await asyncio.gather(*(client.put(f"entry {number}") for number in range(100)))
    assert len([record async for record in client.list(page_size=30)]) == 100


async def test_pages_stop_when_the_caller_does(client: AsyncMemoryClient) -> None:
    await client.put_all([f"entry {number}" for number in range(10)])
    seen = []
    async for record in client.list(page_size=2):
        seen.append(record.text)
        if len(seen) == 3:
            break
    assert seen == ["entry 0", "entry 1", "entry 2"]


async def test_a_foreign_space_is_refused(client: AsyncMemoryClient) -> None:
    with pytest.raises(PermissionDenied):
        await client.forget(matching=Filter(user_id="x"), space="others")


async def test_calls_outlive_a_restart(client: AsyncMemoryClient, service: Service) -> None:
    await client.put("before")
    await asyncio.to_thread(service.stop)
    waiting = asyncio.create_task(client.put("during"))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await asyncio.to_thread(service.start)
    await waiting
    assert [record.text async for record in client.list()] == ["before", "during"]
