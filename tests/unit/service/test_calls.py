"""What every call passes: errors, deadlines, admission, cancellation."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta

import grpc
import pytest
from eventually import eventually
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc
from innervate_service import errors
from innervate_service.auth import current_identity
from innervate_service.config import AdmissionConfig, DeadlineConfig
from innervate_service.logs import JsonFormatter
from prometheus_client import REGISTRY

METHOD = "/innervate_api.memory.v1.MemoryService/Stats"


class Runs(memory_pb2_grpc.MemoryServiceServicer):
    """Stats does what a test wants."""

    def __init__(self, behaviour) -> None:
        self.behaviour = behaviour

    async def Stats(self, request, context):  # noqa: N802  named by the proto
        return await self.behaviour(request, context)


def raises(error):
    async def behaviour(_request, _context):
        raise error

    return behaviour


def count(code):
    return REGISTRY.get_sample_value("innervate_rpc_requests_total", {"method": METHOD, "code": code}) or 0


async def failure(running, **options):
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata(), **options)
    return failed.value


@pytest.mark.parametrize(
    ("error", "code", "detail"),
    [
        (
            errors.InvalidArgument("records[3].text", "x" * 900, "must be at most 64 KiB"),
            grpc.StatusCode.INVALID_ARGUMENT,
            error_details_pb2.BadRequest,
        ),
        (errors.NotFound("Record", "r1"), grpc.StatusCode.NOT_FOUND, error_details_pb2.ResourceInfo),
        (
            errors.AlreadyExists("Record", "k1", "use another key"),
            grpc.StatusCode.ALREADY_EXISTS,
            error_details_pb2.ResourceInfo,
        ),
        (
            errors.PermissionDenied("no", {"space": "support"}),
            grpc.StatusCode.PERMISSION_DENIED,
            error_details_pb2.ErrorInfo,
        ),
        (
            errors.FailedPrecondition("Superseded", "r1", "it is superseded"),
            grpc.StatusCode.FAILED_PRECONDITION,
            error_details_pb2.PreconditionFailure,
        ),
        (
            errors.Exhausted("full", retry_after=timedelta(seconds=2.5)),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            error_details_pb2.RetryInfo,
        ),
        (errors.Unavailable("redis is gone"), grpc.StatusCode.UNAVAILABLE, error_details_pb2.RetryInfo),
        (errors.Aborted("changed meanwhile"), grpc.StatusCode.ABORTED, error_details_pb2.RetryInfo),
    ],
)
async def test_a_domain_error_becomes_its_status_with_details(start, error, code, detail):
    running = await start(Runs(raises(error)))
    before = count(code.name)
    failed = await failure(running)
    assert failed.code() is code
    assert failed.details() == str(error)
    assert len(failed.details()) < 400
    status = rpc_status.from_call(failed)
    message = detail()
    assert [packed.Unpack(message) for packed in status.details] == [True]
    assert [message] == list(error.details())
    # The answer is on its way before it is counted.
    await eventually(lambda: count(code.name) == before + 1)


async def test_invalid_argument_names_field_value_and_fix(start):
    running = await start(Runs(raises(errors.InvalidArgument("limit", 1000, "must be 1 to 100"))))
    failed = await failure(running)
    assert failed.details() == "limit = 1000: must be 1 to 100"
    detail = error_details_pb2.BadRequest()
    rpc_status.from_call(failed).details[0].Unpack(detail)
    assert detail.field_violations[0].field == "limit"


async def test_a_bug_is_answered_without_its_secrets_and_logged_with_its_trace(start, caplog):
    running = await start(Runs(raises(ValueError("password=hunter2"))))
    with caplog.at_level(logging.ERROR):
        failed = await failure(running)
    assert failed.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in failed.details()
    assert "hunter2" not in str(failed.trailing_metadata())
    detail = error_details_pb2.RequestInfo()
    rpc_status.from_call(failed).details[0].Unpack(detail)
    assert detail.request_id in failed.details()
    record = next(record for record in caplog.records if record.message == "call failed")
    line = json.loads(JsonFormatter().format(record))
    assert "hunter2" in line["exception"]
    assert line["method"] == METHOD


async def test_a_handler_may_abort_by_itself(start):
    async def behaviour(_request, context):
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "by itself")

    running = await start(Runs(behaviour))
    before = count("OUT_OF_RANGE")
    failed = await failure(running)
    assert (failed.code(), failed.details()) == (grpc.StatusCode.OUT_OF_RANGE, "by itself")
    await eventually(lambda: count("OUT_OF_RANGE") == before + 1)


async def test_a_call_without_deadline_gets_the_default(start):
    async def behaviour(_request, _context):
        await asyncio.Event().wait()

    running = await start(Runs(behaviour), deadline=DeadlineConfig(default_seconds=0.05, max_seconds=10))
    failed = await failure(running)
    assert failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.05 s" in failed.details()


async def test_no_call_runs_longer_than_the_longest_deadline(start):
    async def behaviour(_request, _context):
        await asyncio.Event().wait()

    running = await start(Runs(behaviour), deadline=DeadlineConfig(default_seconds=0.05, max_seconds=0.05))
    failed = await failure(running, timeout=3600)
    assert failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_timeout_inside_the_handler_is_not_the_calls_deadline(start):
    running = await start(Runs(raises(TimeoutError("of something else"))))
    failed = await failure(running)
    assert failed.code() is grpc.StatusCode.INTERNAL


async def test_a_call_over_the_bounds_is_told_when_to_come_again_and_the_rest_are_served(start):
    go, arrived = asyncio.Event(), asyncio.Semaphore(0)

    async def behaviour(_request, _context):
        arrived.release()
        await go.wait()
        return memory_pb2.StatsResponse(records=1)

    running = await start(Runs(behaviour), admission=AdmissionConfig(max_concurrent=2, max_queue=3))
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        calls = [
            asyncio.ensure_future(stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata()))
            for _ in range(9)
        ]
        done, held = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        while len(done) < 4:
            more, held = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        for call in done:
            error = call.exception()
            assert isinstance(error, grpc.aio.AioRpcError)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            detail = error_details_pb2.RetryInfo()
            rpc_status.from_call(error).details[0].Unpack(detail)
            assert detail.retry_delay.ToTimedelta() > timedelta()
        assert REGISTRY.get_sample_value("innervate_admission_running") == 2
        assert REGISTRY.get_sample_value("innervate_admission_queue") == 3
        go.set()
        assert [answer.records for answer in await asyncio.gather(*held)] == [1] * 5
    assert REGISTRY.get_sample_value("innervate_admission_running") == 0


async def test_a_call_that_waits_in_the_queue_keeps_to_its_deadline(start):
    go = asyncio.Event()

    async def behaviour(_request, _context):
        await go.wait()
        return memory_pb2.StatsResponse()

    running = await start(
        Runs(behaviour),
        admission=AdmissionConfig(max_concurrent=1, max_queue=1),
        deadline=DeadlineConfig(default_seconds=60, max_seconds=60),
    )
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        first = asyncio.ensure_future(stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata()))
        failed = await failure(running, timeout=0.1)
        assert failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        go.set()
        await first


async def test_a_cancelled_call_frees_its_place(start):
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def behaviour(_request, _context):
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = await start(Runs(behaviour), admission=AdmissionConfig(max_concurrent=1, max_queue=0))
    before = count("CANCELLED")
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        call = stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata())
        waiting = asyncio.ensure_future(call.code())
        await arrived.wait()
        call.cancel()
        await waiting
        await ended.wait()
        await eventually(lambda: count("CANCELLED") > before)
    assert REGISTRY.get_sample_value("innervate_admission_running") == 0


async def test_streams_pass_the_same_way(start):
    """The memory service has no stream: a generic handler stands for one."""

    class Streams(memory_pb2_grpc.MemoryServiceServicer):
        pass

    async def count_up(request, _context):
        assert current_identity().account == "agent"
        for number in range(request.page_size):
            if number == 3:
                raise errors.Exhausted("three are enough")
            yield memory_pb2.ListResponse(next_page_token=str(number))

    handler = grpc.method_handlers_generic_handler(
        "test.Streams",
        {
            "Count": grpc.unary_stream_rpc_method_handler(
                count_up,
                request_deserializer=memory_pb2.ListRequest.FromString,
                response_serializer=memory_pb2.ListResponse.SerializeToString,
            )
        },
    )
    running = await start(Streams(), extra_handler=handler)
    async with running.channel() as channel:
        method = channel.unary_stream(
            "/test.Streams/Count",
            request_serializer=memory_pb2.ListRequest.SerializeToString,
            response_deserializer=memory_pb2.ListResponse.FromString,
        )
        short = method(memory_pb2.ListRequest(page_size=2), metadata=running.metadata())
        assert [answer.next_page_token async for answer in short] == ["0", "1"]
        long = method(memory_pb2.ListRequest(page_size=9), metadata=running.metadata())
        assert [(await long.read()).next_page_token for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await long.read()
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(memory_pb2.ListRequest(page_size=2)).read()
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
