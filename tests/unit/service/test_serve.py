"""A real server on a real socket with real TLS and real tokens."""

from __future__ import annotations

import asyncio
import ssl
import urllib.error
import urllib.request
from datetime import timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from innervate_api.memory.v1 import memory_pb2, memory_pb2_grpc
from innervate_service.auth import current_identity
from innervate_service.config import ConfigError, ServiceConfig
from innervate_service.serve import Server


class WhoAmI(memory_pb2_grpc.MemoryServiceServicer):
    """Stats answers the caller's name."""

    async def Stats(self, _request, _context):  # noqa: N802  named by the proto
        await asyncio.sleep(0)
        return memory_pb2.StatsResponse(durability=str(current_identity()))


class Held(memory_pb2_grpc.MemoryServiceServicer):
    """Stats answers once it is let go."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()

    async def Stats(self, _request, _context):  # noqa: N802  named by the proto
        self.arrived.set()
        await self.go.wait()
        return memory_pb2.StatsResponse(records=7)


async def http(port, path):
    def get():
        try:
            with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(get)


async def served_certificate(port, authorities):
    context = ssl.create_default_context(cadata=authorities.decode())
    context.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    del reader
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(der).encode()


async def test_each_call_sees_its_own_caller(start):
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


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ((), "no token"),
        ((("authorization", "Basic YTpi"),), "no token"),
        ((("authorization", "Bearer "),), "no token"),
        ((("authorization", "Bearer not.a.token"),), "refused"),
        ((("authorization", "Bearer " + "x" * 7_000),), "longer than"),
    ],
)
async def test_a_call_without_a_good_token_is_refused(start, metadata, message):
    running = await start(WhoAmI())
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Stats(memory_pb2.StatsRequest(), metadata=metadata)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert message in refused.value.details()


async def test_a_client_that_does_not_trust_the_authority_gets_no_connection(start):
    running = await start(WhoAmI())
    credentials = grpc.ssl_channel_credentials(root_certificates=type(running.authority)().pem)
    async with grpc.aio.secure_channel(running.target, credentials) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_plaintext_is_refused(start):
    running = await start(WhoAmI())
    async with grpc.aio.insecure_channel(running.target) as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata())
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_new_connection_gets_the_new_certificate_and_an_open_one_goes_on(start):
    held = Held()
    running = await start(held)
    first = running.certificates.current
    port = running.server.ports.grpc
    assert first is not None
    assert await served_certificate(port, running.authority.pem) == first.chain
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        in_flight = asyncio.ensure_future(stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata()))
        await held.arrived.wait()
        for _ in range(3):
            second = running.authority.issue()
            running.certificates.replace(second)
            assert await served_certificate(port, running.authority.pem) == second.chain
        # The open connection takes new calls too.
        later = asyncio.ensure_future(stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata()))
        held.go.set()
        assert (await in_flight).records == 7
        assert (await later).records == 7
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        assert (await stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata())).records == 7


async def test_a_new_authority_is_served_as_well(start):
    running = await start(WhoAmI())
    other = type(running.authority)()
    running.certificates.replace(other.issue())
    running.authority = other
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        answer = await stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata())
    assert answer.durability == "shop/agent"


async def test_probes_follow_readiness(start):
    problem: list[str | None] = ["redis does not answer"]
    running = await start(WhoAmI(), ready=lambda: problem[0])
    ports = running.server.ports
    assert await http(ports.health, "/livez") == (200, "ok\n")
    assert await http(ports.health, "/readyz") == (503, "redis does not answer\n")
    assert (await http(ports.health, "/other"))[0] == 404
    async with running.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="innervate_api.memory.v1.MemoryService")
        )
        states = aiter(watch)
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        problem[0] = None
        assert await http(ports.health, "/readyz") == (200, "ok\n")
        assert (await anext(states)).status == health_pb2.HealthCheckResponse.SERVING


async def test_an_expired_certificate_makes_the_service_unready(start):
    running = await start(WhoAmI())
    running.certificates.replace(running.authority.issue(lifetime=timedelta(seconds=-1)))
    status, text = await http(running.server.ports.health, "/readyz")
    assert status == 503
    assert "expired" in text


async def test_metrics_count_calls_by_method_and_code(start):
    running = await start(WhoAmI())
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        before = await samples(running)
        await stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata())
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Stats(memory_pb2.StatsRequest())
        after = await samples(running)
    method = "/innervate_api.memory.v1.MemoryService/Stats"
    for code in ("OK", "UNAUTHENTICATED"):
        name = f'innervate_rpc_requests_total{{code="{code}",method="{method}"}}'
        assert after[name] == before.get(name, 0) + 1
    name = f'innervate_rpc_seconds_count{{method="{method}"}}'
    assert after[name] == before.get(name, 0) + 2
    assert after[f'innervate_rpc_in_flight{{method="{method}"}}'] == 0
    assert after["innervate_certificate_expiry_timestamp_seconds"] > 1_700_000_000


async def samples(running):
    status, text = await http(running.server.ports.metrics, "/metrics")
    assert status == 200
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def refused_connection(running):
    """Call on new connections until one is refused."""
    while True:
        async with running.channel() as channel:
            try:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017  others mean a fault
                return


async def test_drain_finishes_running_calls_and_refuses_new_ones(start):
    held = Held()
    drained = []

    async def on_drain():
        drained.append(held.go.is_set())

    running = await start(held, on_drain=on_drain)
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        in_flight = asyncio.ensure_future(stub.Stats(memory_pb2.StatsRequest(), metadata=running.metadata()))
        await held.arrived.wait()
        drain = asyncio.create_task(running.server.drain())
        await refused_connection(running)
        assert not drained
        held.go.set()
        assert (await in_flight).records == 7
        await drain
    assert drained == [True]


async def test_hooks_run_around_the_calls(start):
    seen = []

    async def on_start():
        seen.append("start")

    async def on_drain():
        seen.append("drain")

    running = await start(WhoAmI(), on_start=on_start, on_drain=on_drain)
    assert seen == ["start"]
    await running.server.drain()
    assert seen == ["start", "drain"]


async def test_what_was_begun_is_closed_even_where_the_start_fails(start):
    seen = []

    async def on_start():
        raise OSError("no luck")

    async def on_drain():
        seen.append("drain")

    with pytest.raises(OSError, match="no luck"):
        await start(WhoAmI(), on_start=on_start, on_drain=on_drain)
    await start.servers[-1].drain()
    assert seen == ["drain"]


async def test_a_bug_in_the_readiness_makes_it_unready_and_no_more(start):
    def ready():
        raise ZeroDivisionError

    running = await start(WhoAmI(), ready=ready)
    status, text = await http(running.server.ports.health, "/readyz")
    assert (status, text) == (503, "readiness cannot be told: ZeroDivisionError\n")
    assert (await http(running.server.ports.health, "/livez"))[0] == 200


async def test_a_message_over_the_limit_is_refused(start):
    running = await start(WhoAmI(), max_message_bytes=1024)
    async with running.channel() as channel:
        stub = memory_pb2_grpc.MemoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Stats(memory_pb2.StatsRequest(space="x" * 2000), metadata=running.metadata())
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("reflection", [True, False])
async def test_reflection_is_there_only_when_asked_for(start, reflection):
    running = await start(WhoAmI(), reflection=reflection)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async with running.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        if reflection:
            answer = await stub.ServerReflectionInfo(iter([request])).read()
            names = {service.name for service in answer.list_services_response.service}
            assert "innervate_api.memory.v1.MemoryService" in names
        else:
            # Nothing is sent: a message that meets the refusal on its way is told as a broken call.
            assert await stub.ServerReflectionInfo().code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_unknown_method_is_unimplemented(start):
    running = await start(WhoAmI())
    async with running.channel() as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/innervate_api.memory.v1.MemoryService/Nothing")(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_port_that_is_taken_is_named(start):
    running = await start(WhoAmI())
    with pytest.raises(ConfigError, match=r"service\.listen"):
        await start(WhoAmI(), listen=f"localhost:{running.server.ports.grpc}")


def test_a_service_without_certificate_source_is_refused():
    with pytest.raises(ConfigError, match=r"service\.identity is missing"):
        Server(ServiceConfig(), [])
