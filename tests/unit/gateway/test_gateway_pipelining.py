"""Callers that send ahead of their answers: each gets its own answer in turn, and memory stays bounded."""

import asyncio
import contextlib
import json
import socket

from eventually import eventually
from gateway_process import chat, read_reply
from innervate_gateway import metrics

MIB = 1024 * 1024


NOTHING = b"GET /%b HTTP/1.1\r\n\r\n" % (b"nothing" * 14)


async def test_answers_that_nobody_takes_hold_the_next_requests_up(start):
    """Nobody has to sign in to be refused: refusals must not fill the memory either."""
    async with start() as gateway:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", gateway.gateway.port))
        reader, writer = await asyncio.open_connection(sock=small, limit=2**26)
        writer.transport.pause_reading()
        await eventually(lambda: gateway.connections)
        (connection,) = gateway.connections
        transport, before, sent = connection._transport, refused(), 0

        def all_done_or_held_up() -> bool:
            return refused() == before + sent or not transport.is_reading()

        while transport.is_reading():
            writer.write(NOTHING * 64)
            sent += 64
            await eventually(all_done_or_held_up)
            assert transport.get_write_buffer_size() < MIB
        writer.transport.resume_reading()
        for _ in range(sent):
            assert (await asyncio.wait_for(read_reply(reader), 30)).status == 404
        writer.close()


def refused() -> float:
    return metrics.REFUSED.labels("404")._value.get()


async def test_too_many_requests_ahead_cut_the_connection(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        writer.write(NOTHING * 2000)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 30)
        await eventually(lambda: not gateway.connections)


async def test_long_requests_in_a_row_are_all_answered(start):
    """A head may arrive together with the end of the body before it."""
    async with start() as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat(user="y" * 150_000)).encode()
        data = (gateway.head(len(body), {}) + body) * 3
        cut = len(data) - len(body) - 20
        writer.write(data[:cut])
        await writer.drain()
        writer.write(data[cut:])
        for _ in range(3):
            assert (await asyncio.wait_for(read_reply(reader), 30)).status == 200


async def test_a_body_is_not_asked_for_within_the_answer_before(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat()).encode()
        first = gateway.head(len(body), {}) + body
        writer.write(first + gateway.head(len(body), {"expect": "100-continue"}))
        assert (await asyncio.wait_for(read_reply(reader), 30)).status == 200
        writer.write(body)
        assert (await asyncio.wait_for(read_reply(reader), 30)).status == 200


async def test_what_stands_behind_a_body_is_not_read(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        body = json.dumps(chat()).encode()
        head = gateway.head(0, {"content-length": None, "transfer-encoding": "chunked"})
        writer.write(head + b"%x\r\n%b\r\n0\r\n" % (len(body), body))
        writer.write(b"x-innervate-release: gone\r\nx-innervate-session: \xe9\r\n\r\n")
        assert (await asyncio.wait_for(read_reply(reader), 30)).status == 200


async def test_what_stands_behind_a_body_is_bounded(start):
    async with start() as gateway, gateway.connection() as (reader, writer):
        head = gateway.head(0, {"content-length": None, "transfer-encoding": "chunked"})
        writer.write(head + b"2\r\n{}\r\n0\r\nx-more: " + b"y" * MIB)
        assert (await asyncio.wait_for(read_reply(reader), 30)).status == 431
    assert gateway.engine.asked == []


async def test_other_protocols_are_refused(start):
    async with start() as gateway:
        reply = await gateway.ask(connection="Upgrade", upgrade="h2c")
        assert (reply.status, reply.error["code"]) == (501, "upgrade_refused")
    assert gateway.engine.asked == []
