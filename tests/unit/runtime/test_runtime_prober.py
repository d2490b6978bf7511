"""Probes of a real gRPC server over TLS: bounded, decoded, told only when the answer differs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from innervate_kinds.api.kind import Kind, Reference
from innervate_kinds.api.reader import Probe
from innervate_operator.clock import SystemClock
from innervate_operator.identity import authority
from innervate_operator.identity.server import IdentityAuthority, IdentitySettings
from innervate_operator.prober import Prober

KEY = Reference(Kind("innervate.dev", "v1alpha1", "Gadget", "gadgets"), "shop", "g")
METHOD = "/test.Service/Ask"


class Service:
    """Answers with what it was told to; notes who asked, and how many at once."""

    def __init__(self):
        self.answer = b"7"
        self.error = None
        self.tokens = []
        self.running = 0
        self.most = 0
        self.hold = None

    async def ask(self, _request, context):
        self.tokens.append(dict(context.invocation_metadata())["authorization"])
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.hold:
                await self.hold.wait()
            if self.error:
                detail = any_pb2.Any()
                detail.Pack(error_details_pb2.ErrorInfo(reason=self.error))
                status = status_pb2.Status(code=14, message="not now", details=[detail])
                context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            return self.answer
        finally:
            self.running -= 1


@pytest.fixture
def signer():
    settings = IdentitySettings()
    return IdentityAuthority(authority.create(datetime.now(UTC), settings.policy), settings)


@pytest.fixture
async def service(signer):
    made = Service()
    certificate = signer.issue_own()
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(made.ask)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", {"Ask": handler}),))
    credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
    made.port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield made
    await server.stop(0)


@pytest.fixture
async def prober(signer, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    woken = []
    made = Prober(
        SystemClock(),
        authorities=lambda: signer.state.bundle,
        token_file=tmp_path / "token",
        wake=woken.append,
        concurrent=3,
    )
    made.woken = woken
    yield made
    await made.close()


def decode(content):
    return {"value": int(content)}


def probe(service, name="stats", interval=0.02):
    return Probe(name, f"localhost:{service.port}", METHOD, b"", decode, interval)


async def until(check):
    async with asyncio.timeout(20):
        while not check():  # noqa: ASYNC110 -- what is waited for has no event
            await asyncio.sleep(0.01)


async def test_an_answer_is_decoded_and_asked_for_with_our_token(service, prober):
    result = await prober.ask(probe(service))
    assert (result.value, result.code) == ({"value": 7}, "")
    assert service.tokens == ["Bearer secret"]


async def test_the_resource_is_woken_only_when_the_answer_differs(service, prober):
    prober.set(KEY, [probe(service)])
    assert not prober.complete(KEY)
    await until(lambda: len(service.tokens) > 5)
    assert prober.woken == [KEY]
    assert prober.complete(KEY)
    assert prober.results(KEY)["stats"].value == {"value": 7}
    service.answer = b"8"
    await until(lambda: len(prober.woken) == 2)
    service.error = "REDIS_FULL"
    await until(lambda: len(prober.woken) == 3)
    result = prober.results(KEY)["stats"]
    assert (result.value, result.code, result.reason, result.message) == (
        None,
        "UNAVAILABLE",
        "REDIS_FULL",
        "not now",
    )


async def test_an_answer_that_cannot_be_decoded_is_a_failure_not_an_end(service, prober):
    service.answer = b"seven"
    prober.set(KEY, [probe(service)])
    await until(lambda: prober.woken)
    assert prober.results(KEY)["stats"].code == "UNKNOWN"
    service.answer = b"7"
    await until(lambda: len(prober.woken) == 2)


async def test_an_answer_that_no_decoder_foresaw_is_a_failure_too(service, prober):
    known = {b"7": "seven"}
    looked_up = Probe("stats", f"localhost:{service.port}", METHOD, b"", known.__getitem__, 0.02)
    service.answer = b"8"
    prober.set(KEY, [looked_up])
    await until(lambda: prober.woken)
    assert prober.results(KEY)["stats"].code == "UNKNOWN"
    service.answer = b"7"
    await until(lambda: len(prober.woken) == 2)
    assert prober.results(KEY)["stats"].value == "seven"


async def test_nobody_there_is_an_answer_too(prober):
    result = await prober.ask(Probe("stats", "localhost:1", METHOD, b"", decode))
    assert result.code == "UNAVAILABLE"
    assert result.value is None


async def test_a_server_of_another_authority_is_not_trusted(service, prober):
    settings = IdentitySettings()
    other = authority.create(datetime.now(UTC), settings.policy)
    prober._authorities = lambda: other.bundle
    result = await prober.ask(probe(service))
    assert result.code == "UNAVAILABLE"
    assert service.tokens == []


async def test_no_more_than_so_many_are_asked_at_once(service, prober):
    service.hold = asyncio.Event()
    prober.set(KEY, [probe(service, name=str(number)) for number in range(10)])
    await until(lambda: service.running == 3)
    await asyncio.sleep(0.05)
    assert service.most == 3
    service.hold.set()
    await until(lambda: prober.complete(KEY))


async def test_probes_that_are_no_longer_wanted_stop(service, prober):
    prober.set(KEY, [probe(service), probe(service, name="other")])
    await until(lambda: prober.complete(KEY))
    prober.set(KEY, [probe(service)])
    assert set(prober.results(KEY)) == {"stats"}
    prober.stop(KEY)
    await asyncio.sleep(0.05)
    count = len(service.tokens)
    await asyncio.sleep(0.1)
    assert len(service.tokens) == count
    assert prober.results(KEY) == {}
