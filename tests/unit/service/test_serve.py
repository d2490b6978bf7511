"""A real server on a real socket with real TLS and real tokens."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc
from innervate_service.auth import current_identity


class WhoAmI(memory_pb2_grpc.MemoryServiceServicer):
    """Stats answers the caller's name."""

    async def Stats(self, request, context):  # noqa: N802  named by the proto
        await asyncio.sleep(0)
        return memory_pb2.StatsResponse(durability=str(current_identity()))


async def test_a_call_with_a_token_reaches_the_handler_with_its_identity(start):
    running = await start(WhoAmI())
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        answers = await asyncio.gather(
            *(
                stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata(account=f"agent-{i}"))
                for i in range(20)
            )
        )
    assert [answer.durability for answer in answers] == [f"shop/agent-{i}" for i in range(20)]
