"""Callers that take a long answer slowly: what they have not taken counts as held until they have."""

import asyncio
import json
import socket
import ssl

import pytest
from eventually import eventually
from gateway_engine import Engine, answer_document
from gateway_process import RunningGateway, chat, read_reply

MIB = 1024 * 1024
LENGTH = 24 * MIB
"""More than the kernel takes off a connection's hands."""
HELD = 12 * MIB


def long_answer() -> Engine:
    return Engine(document=answer_document("x" * LENGTH))


async def slow(gateway: RunningGateway, *, tls: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask, and take nothing of the answer yet."""
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", gateway.gateway.port))
    context = None
    if tls:
        context = ssl.create_default_context(cadata=gateway.cluster.authority.pem.decode())
    reader, writer = await asyncio.open_connection(
        sock=small, ssl=context, server_hostname="localhost" if tls else None
    )
    writer.transport.pause_reading()
    body = json.dumps(chat()).encode()
    writer.write(gateway.head(len(body), {}) + body)
    return reader, writer


@pytest.mark.parametrize("tls", [False, True])
async def test_an_answer_is_held_until_it_was_taken(start, tls):
    limits = {"maxBodyBytes": 32 * MIB, "maxBufferedBytes": 32 * MIB}
    async with start(engine=long_answer(), limits=limits, tls=tls) as gateway:
        core = gateway.gateway.core
        reader, writer = await slow(gateway, tls=tls)
        # Its place is free again: the engine is done, and what counts from here on is memory.
        await eventually(lambda: gateway.engine.asked and core.admission.running == 0)
        assert core.buffered > HELD
        other_reader, other = await slow(gateway, tls=tls)
        other.transport.resume_reading()
        refused = await asyncio.wait_for(read_reply(other_reader), 30)
        assert (refused.status, "holds as much as it can" in refused.error["message"]) == (502, True)
        writer.transport.resume_reading()
        reply = await asyncio.wait_for(read_reply(reader), 120)
        assert reply.document["choices"][0]["message"]["content"] == "x" * LENGTH
        await eventually(lambda: core.buffered == 0)
        # The connection goes on.
        gateway.engine.document = answer_document("short")
        body = json.dumps(chat()).encode()
        writer.write(gateway.head(len(body), {}) + body)
        assert (await asyncio.wait_for(read_reply(reader), 30)).status == 200
        writer.close()
        other.close()


async def test_who_takes_nothing_is_cut_and_holds_nothing_more(start):
    limits = {"maxBodyBytes": 32 * MIB, "writeSeconds": 1}
    async with start(engine=long_answer(), limits=limits) as gateway:
        _, writer = await slow(gateway, tls=False)
        await eventually(lambda: gateway.engine.asked)
        await eventually(lambda: not gateway.connections)
        assert gateway.gateway.core.buffered == 0
        writer.close()
