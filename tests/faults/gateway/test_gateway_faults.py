"""Engines, Redis and callers that go away at the worst moment."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from eventually import eventually
from gateway_cluster import SLICES, slice_document
from gateway_engine import Engine, stream_events
from gateway_process import CHAT, RunningGateway, chat, read_reply
from innervate_api.exchange.v1 import exchange_pb2 as pb

pytestmark = pytest.mark.faults


async def listed(gateway: RunningGateway) -> list[pb.Exchange]:
    found, token = [], ""
    async with gateway.stub() as stub:
        while True:
            request = pb.ListRequest(page_size=1000, page_token=token)
            page = await stub.List(request, metadata=gateway.cluster.metadata())
            found += page.exchanges
            token = page.next_page_token
            if not token:
                return found


@pytest.mark.parametrize("failure", ["reset", "reset_after_head", "busy", "garbage"])
async def test_a_failure_before_the_first_token_is_not_seen_by_the_caller(start, failure):
    """Whichever engine is asked first fails, and the other answers."""
    good = Engine()
    await good.start()
    bad = Engine(behaviour=failure)
    await bad.start()
    slices = [
        slice_document(name, release="first", port=engine.port)
        for name, engine in (("bad", bad), ("good", good))
    ]
    async with start(slices=slices) as gateway:
        number = 0
        while not bad.asked:
            number += 1
            reply = await gateway.ask(chat(stream=bool(number % 2)))
            assert reply.status == 200
            assert number < 100
        # It is left alone for a while, so the next goes to the other at once.
        asked = len(bad.asked)
        assert (await gateway.ask()).status == 200
        assert len(bad.asked) == asked
        exchanges = await listed(gateway)
        assert len(exchanges) == number + 1
        assert {exchange.outcome for exchange in exchanges} == {pb.EXCHANGE_OUTCOME_ANSWERED}
    await good.kill()
    await bad.kill()


async def test_an_engine_that_is_gone_is_passed_over(start):
    gone, good = Engine(), Engine()
    await gone.start()
    await good.start()
    await gone.kill()
    slices = [
        slice_document(name, release="first", port=engine.port)
        for name, engine in (("gone", gone), ("good", good))
    ]
    async with start(slices=slices) as gateway:
        for _ in range(20):
            assert (await gateway.ask()).status == 200
        assert len(good.asked) == 20
    await good.kill()


async def test_a_failure_within_a_stream_is_told_as_one(start):
    engine = Engine(behaviour="reset_in_stream")
    async with start(engine=engine) as gateway:
        asking = asyncio.create_task(gateway.ask(chat(stream=True)))
        await asyncio.wait_for(engine.reached.wait(), 20)
        engine.gate.set()
        reply = await asking
        first, error, end = reply.body.split(b"\n\n")
        assert first == engine.events[0].strip()
        assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "engine_failed"
        assert end == b""
        [exchange] = await listed(gateway)
        assert exchange.outcome == pb.EXCHANGE_OUTCOME_FAILED
        assert len(engine.asked) == 1


async def test_engines_that_all_fail_are_told_as_such(start):
    for failure, words in (("reset", "connection"), ("busy", "503"), ("garbage", "HTTP"), ("deny", "401")):
        async with start(engine=Engine(behaviour=failure)) as gateway:
            reply = await gateway.ask()
            assert reply.status == 502, failure
            assert words in reply.error["message"], failure
            assert (await listed(gateway))[-1].status_code == 502


async def test_what_the_engine_says_about_the_request_reaches_the_caller(start):
    async with start(engine=Engine(behaviour="refuse")) as gateway:
        reply = await gateway.ask(chat(stream=True))
        assert (reply.status, reply.document) == (400, {"error": {"message": "context too long"}})
        assert (await listed(gateway))[0].outcome == pb.EXCHANGE_OUTCOME_ANSWERED


async def test_connections_that_grew_too_old_cost_no_request(start):
    """The engine closes every connection after its answer, without a word."""
    async with start(engine=Engine(behaviour="answer_and_close")) as gateway:
        for _ in range(10):
            assert (await gateway.ask()).status == 200
    async with start(engine=Engine(behaviour="until_closed")) as gateway:
        assert (await gateway.ask()).document == gateway.engine.document


async def test_an_answer_without_a_length_must_come_to_its_end(start):
    engine = Engine(behaviour="stream_until_closed")
    async with start(engine=engine) as gateway:
        for ends in (b"\n\n", b"\n"):
            engine.events = [*stream_events()[:-1], b"data: [DONE]" + ends]
            reply = await gateway.ask(chat(stream=True))
            assert (reply.status, b"error" in reply.body, reply.body.count(b"[DONE]")) == (200, False, 1)
        engine.events = stream_events()[:-1]
        reply = await gateway.ask(chat(stream=True))
        assert (b"three" in reply.body, b"[DONE]" in reply.body) == (True, False)
        assert b"in the middle" in reply.body
        outcomes = [each.outcome for each in await listed(gateway)]
        answered = pb.EXCHANGE_OUTCOME_ANSWERED
        assert outcomes == [answered, answered, pb.EXCHANGE_OUTCOME_FAILED]
    async with start(engine=Engine(behaviour="cut_until_closed")) as gateway:
        reply = await gateway.ask()
        assert (reply.status, "in the middle" in reply.error["message"]) == (502, True)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_engine_learns_that_the_caller_went_away(start, stream):
    engine = Engine(behaviour="hold_stream" if stream else "hold")
    async with start(engine=engine) as gateway:
        async with gateway.connection() as (_, writer):
            body = json.dumps(chat(stream=stream)).encode()
            writer.write(gateway.head(len(body), {}) + body)
            await asyncio.wait_for(engine.reached.wait(), 20)
        await eventually(lambda: not gateway.connections)
        await eventually(lambda: gateway.gateway.core.admission.running == 0)
        assert (await listed(gateway))[-1].outcome == pb.EXCHANGE_OUTCOME_ABANDONED
        engine.gate.set()
        await eventually(lambda: not engine.open)


async def test_engines_are_replaced_under_load_without_a_failed_request(start):
    async with AsyncExitStack() as stack, start() as gateway:
        statuses: list[int] = []
        stop = asyncio.Event()

        async def caller(number: int) -> None:
            async with gateway.connection() as (reader, writer):
                body = json.dumps(chat(stream=bool(number % 2))).encode()
                while not stop.is_set():
                    writer.write(gateway.head(len(body), {}) + body)
                    statuses.append((await asyncio.wait_for(read_reply(reader), 30)).status)

        callers = [asyncio.create_task(caller(number)) for number in range(8)]
        old, name = gateway.engine, "one"
        for turn in range(4):
            before = len(statuses)
            await eventually(lambda before=before: len(statuses) > before + 50)
            new = Engine()
            await new.start()
            stack.push_async_callback(new.kill)
            # As a Deployment rolls: the new one is ready, then the old one gets no more, then it ends.
            await gateway.api.put(slice_document(f"next-{turn}", release="first", port=new.port))
            await eventually(lambda new=new: new.asked)
            await gateway.api.delete(SLICES, name)
            await eventually(lambda: len(gateway.gateway.routes.current.endpoints["stable"]) == 1)
            await eventually(lambda old=old: not old.open)
            await old.kill()
            old, name = new, f"next-{turn}"
        stop.set()
        await asyncio.gather(*callers)
        assert set(statuses) == {200}
        assert len(await listed(gateway)) == len(statuses)


async def test_no_answer_is_without_its_record_when_redis_is_killed(start, redis):
    """Callers ask without pause while Redis is killed and comes back, again and again."""
    async with start() as gateway:
        answered: list[str] = []
        refused: set[str] = set()
        stop = asyncio.Event()

        async def caller(number: int) -> None:
            stream = bool(number % 2)
            while not stop.is_set():
                try:
                    reply = await gateway.ask(chat(stream=stream))
                except (asyncio.IncompleteReadError, ConnectionError):
                    continue
                if reply.status == 200 and (not stream or b"[DONE]" in reply.body):
                    answered.append(reply.headers["x-innervate-request-id"])
                elif reply.status != 200:
                    refused.add(reply.error["code"])
                    await asyncio.sleep(0.05)

        callers = [asyncio.create_task(caller(number)) for number in range(8)]
        for _ in range(3):
            before = len(answered)
            await eventually(lambda before=before: len(answered) > before + 60, seconds=60)
            await asyncio.to_thread(redis.kill)
            await asyncio.to_thread(redis.start)
        stop.set()
        await asyncio.gather(*callers)
        exchanges = await listed(gateway)
        recorded = [exchange.request_id for exchange in exchanges]
        assert set(answered) <= set(recorded)
        assert len(recorded) == len(set(recorded))
        assert refused <= {"log_unavailable"}
        async with gateway.stub() as stub:
            metadata = gateway.cluster.metadata()
            outcomes = await stub.Outcomes(pb.OutcomesRequest(feedback="success"), metadata=metadata)
        assert outcomes.arms[0].exchanges == len(recorded)


async def test_nothing_is_asked_of_an_engine_while_the_log_cannot_be_written(start, redis, monkeypatch):
    monkeypatch.setattr("innervate_gateway.log.WRITE_SECONDS", 0.5)
    async with start() as gateway:
        await asyncio.to_thread(redis.kill)
        # The first finds out: its answer is withheld.
        reply = await gateway.ask()
        assert (reply.status, reply.error["code"]) == (503, "log_unavailable")
        assert "withheld" in reply.error["message"]
        reply = await gateway.ask()
        assert (reply.status, reply.error["code"]) == (503, "log_unavailable")
        assert int(reply.headers["retry-after"]) >= 1
        assert len(gateway.engine.asked) == 1
        await asyncio.to_thread(redis.start)
        await eventually(lambda: gateway.gateway.log.problem(0) is None)
        assert (await gateway.ask()).status == 200
        assert gateway.gateway.core.admission.running == 0


async def test_an_unrecorded_stream_has_no_end(start, redis, monkeypatch):
    monkeypatch.setattr("innervate_gateway.log.WRITE_SECONDS", 0.5)
    engine = Engine(behaviour="hold_stream")
    async with start(engine=engine) as gateway:
        asking = asyncio.create_task(gateway.ask(chat(stream=True), path=CHAT))
        await asyncio.wait_for(engine.reached.wait(), 20)
        await asyncio.to_thread(redis.kill)
        engine.gate.set()
        reply = await asking
        assert b"[DONE]" not in reply.body
        assert b"log_unavailable" in reply.body


async def test_a_full_redis_refuses_and_recovers(start):
    async with start() as gateway:
        connection = gateway.gateway._connection
        await connection.command("CONFIG", "SET", "maxmemory", "1", deadline=1e12)
        reply = await gateway.ask()
        assert (reply.status, reply.error["code"]) == (503, "log_unavailable")
        assert "retentionSeconds" in reply.error["message"]
        assert (await gateway.ask()).status == 503
        await connection.command("CONFIG", "SET", "maxmemory", "0", deadline=1e12)
        await eventually(lambda: gateway.gateway.log.problem(0) is None)
        assert (await gateway.ask()).status == 200
        assert len(await listed(gateway)) == 1
