"""The runner in front of a real gateway: arms of weight 0, its own token, and a record of every answer."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from evaluation_stage import stage as make_stage
from gateway_cluster import arm, pool_document, slice_document
from gateway_engine import Engine, answer_document
from gateway_process import running_gateway
from innervate_api.exchange.v1 import exchange_pb2
from memory_process import Cluster
from redis_process import RedisProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from evaluation_stage import Stage
    from gateway_process import RunningGateway

QUESTIONS = 30
TRAFFIC = [arm("stable", "first", 100), arm("candidate", "second", 0, "Candidate")]


@pytest.fixture
async def exam(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stage, RunningGateway]]:
    """A pool whose stable release answers four, and whose candidate answers five."""
    directory: Path = tmp_path_factory.mktemp("e")
    redis = RedisProcess(tmp_path_factory.mktemp("redis"))
    redis.start()
    candidate = Engine(document=answer_document("5"))
    await candidate.start()
    stable = Engine(document=answer_document("4"))
    await stable.start()
    slices = [
        slice_document("one", release="first", port=stable.port),
        slice_document("two", release="second", port=candidate.port),
    ]
    cluster = Cluster(directory / "cluster")
    try:
        async with (
            make_stage(directory, lambda _release, _text: "") as stage,
            running_gateway(
                cluster, redis, pool=pool_document(traffic=TRAFFIC), slices=slices, tls=True
            ) as running,
        ):
            stage.port = running.gateway.port
            (directory / "ca.crt").write_bytes(cluster.authority.pem)
            token = cluster.metadata("exam-evaljob")[0][1].removeprefix("Bearer ")
            (directory / "token").write_text(token)
            line = {"input": "2+2", "expected": "4"}
            stage.dataset.write_text(
                "".join(json.dumps({"id": str(number), **line}) + "\n" for number in range(QUESTIONS))
            )
            candidate.script.extend(["busy", "answer", "busy"])
            yield stage, running
    finally:
        await candidate.kill()
        await stable.kill()
        redis.stop()


def target(stage: Stage, release: str) -> dict[str, str]:
    return {"endpoint": f"https://localhost:{stage.port}", "model": "tiny", "release": release}


async def test_both_arms_are_asked_and_every_answer_is_on_record(exam: tuple[Stage, RunningGateway]) -> None:
    stage, running = exam
    code, words = await stage.judge(target=target(stage, "second"), baseline={"release": "first"})
    assert code == 0, words
    assert words["verdict"] == "Failed"
    assert words["comparison"]["difference"] == "-1.0000"
    async with running.stub() as stub:
        page = await stub.List(
            exchange_pb2.ListRequest(page_size=1000), metadata=running.cluster.metadata("exam-evaljob")
        )
    answered = [each for each in page.exchanges if each.status_code == 200]
    assert Counter(each.release for each in answered) == {"first": QUESTIONS, "second": QUESTIONS}
    assert {each.task for each in answered} == {"exam"}
    assert {each.tenant for each in answered} == {"shop/exam-evaljob"}
    assert {each.propensity for each in answered} == {0}
    recorded = {each.request_id for each in answered}
    assert {line["request_id"] for line in stage.lines()} == recorded


async def test_a_release_without_an_arm_is_told(exam: tuple[Stage, RunningGateway]) -> None:
    stage, _ = exam
    code, words = await stage.judge(
        target=target(stage, "third"), baseline={"release": "first"}, run={"retrySeconds": 0}
    )
    assert code == 3
    assert "404" in words["error"]["message"]
