"""The clients of a pool against a real gateway: what is asked, reported, counted and listed."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest
from gateway_process import running_gateway
from innervate import ChatClient, ExchangeClient, Feedback, ReportResult, Retry
from innervate.cli import chat as command_module
from innervate.cli.output import Exit
from innervate.route import Direct
from memory_process import Cluster
from redis_process import RedisProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command import Innervate
    from gateway_process import RunningGateway


@pytest.fixture(scope="module")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"))
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, redis_process: RedisProcess
) -> Iterator[RunningGateway]:
    """A gateway in a thread of its own: clients and commands block."""
    cluster = Cluster(tmp_path_factory.mktemp("gateway") / "cluster")
    kept = {"retentionSeconds": 3600, "feedbackSeconds": 600, "content": "Full"}
    loop, over = asyncio.new_event_loop(), asyncio.Event()
    started: Future[RunningGateway] = Future()

    async def serve() -> None:
        async with running_gateway(cluster, redis_process, tls=True, exchangeLog=kept) as running:
            started.set_result(running)
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield started.result(timeout=120)
    loop.call_soon_threadsafe(over.set)
    thread.join()
    loop.close()


def way(gateway: RunningGateway, port: int) -> Direct:
    token = gateway.authorization.removeprefix("Bearer ")
    return Direct(f"https://localhost:{port}", ca=gateway.cluster.authority.pem, token=lambda: token)


@pytest.fixture
def chat(gateway: RunningGateway) -> Iterator[ChatClient]:
    with ChatClient(way(gateway, gateway.gateway.port), retry=Retry(timeout=60)) as client:
        yield client


@pytest.fixture
def log(gateway: RunningGateway) -> Iterator[ExchangeClient]:
    with ExchangeClient(way(gateway, gateway.server.ports.grpc), retry=Retry(timeout=60)) as client:
        yield client


def test_what_was_answered_is_judged_counted_and_listed(chat: ChatClient, log: ExchangeClient) -> None:
    before = {each.arm: each for each in log.outcomes()}
    answer = chat.chat("Where does Ada live?", session="monday", task="homes")
    assert (answer.text, answer.release, answer.arm) == ("hello", "first", "stable")

    told = Feedback(request_id=answer.request_id, value=0.0, expected="Rome")
    unknown = Feedback(request_id="0-0", value=1.0)
    assert log.report([told, unknown]) == (
        ReportResult.RECORDED,
        ReportResult.UNKNOWN_EXCHANGE,
    )
    assert log.report([told]) == (ReportResult.ALREADY_REPORTED,)

    after = {each.arm: each for each in log.outcomes(["stable"])}["stable"]
    had = before.get("stable")
    assert after.release == "first"
    assert after.exchanges == (had.exchanges if had else 0) + 1
    assert (after.units, after.successes) == ((had.units + 1, had.successes) if had else (1, 0))

    listed = list(log.list(release="first", page_size=1))
    exchange = next(each for each in listed if each.request_id == answer.request_id)
    assert (exchange.session, exchange.task, exchange.arm) == ("monday", "homes", "stable")
    assert json.loads(exchange.request)["messages"] == [{"role": "user", "content": "Where does Ada live?"}]
    assert json.loads(exchange.response)["choices"][0]["message"]["content"] == "hello"
    assert exchange.feedback == (told,)
    assert not list(log.list(arm="nobody"))


def test_the_feedback_command_says_what_became_of_it(
    gateway: RunningGateway, chat: ChatClient, innervate: Innervate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def direct(*_: object, **__: object) -> Direct:
        return way(gateway, gateway.server.ports.grpc)

    monkeypatch.setattr(command_module, "Forwarded", direct)
    answer = chat.chat("Hello")
    request = answer.request_id
    first = innervate("feedback", "assistant", request, "1", "--expected", "hi")
    assert (first.returncode, first.stdout) == (Exit.OK, "recorded\n")
    again = innervate("feedback", "assistant", request, "0")
    assert again.stdout == "success was reported before, and stays\n"
    other = innervate("feedback", "assistant", request, "0.5", "--name", "tone", "-o", "json")
    assert json.loads(other.stdout) == {"result": "recorded"}
    unknown = innervate("feedback", "assistant", "0-0", "1")
    assert unknown.returncode == Exit.NOT_FOUND
    assert "pool assistant has no exchange 0-0" in unknown.stderr
    wrong = innervate("feedback", "assistant", request, "2")
    assert wrong.returncode == Exit.USAGE
