"""How far a run is: counted on the way, served by the runner, read as the operator reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from evaluation_stage import questions, refusal
from innervate_evaluator.__main__ import health
from innervate_evaluator.progress import Progress
from innervate_kinds.api.reader import HttpProbe
from innervate_kinds.eval_job.model import EvalJob
from innervate_kinds.eval_job.room import ROOM
from innervate_operator.page import Pages
from innervate_service.probes import HttpServer
from kinds_cluster import Cluster

if TYPE_CHECKING:
    from evaluation_stage import Stage

CASE = Path(__file__).parents[2] / "golden/kinds/input/evaljob/running.yaml"


async def test_every_arm_of_every_question_counts(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))
    await exam.judge()
    assert exam.progress == Progress(asked=20, total=20, errors=0)


async def test_what_the_log_holds_was_asked_before(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))
    await exam.judge()
    await exam.judge()
    assert exam.progress == Progress(asked=20, total=20, errors=0)


async def test_questions_in_error_are_told(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))
    exam.gateway.trouble = lambda asked, _times: refusal(400) if asked.text == "3+3" else None
    await exam.judge(run={"maxErrorShare": "0.5"})
    assert exam.progress == Progress(asked=20, total=20, errors=1)


async def test_the_operator_reads_what_the_runner_serves() -> None:
    case = yaml.safe_load(CASE.read_text())
    case["cluster"][-1]["status"]["podIP"] = "10.1.0.1"
    job = EvalJob.model_validate(case["resource"])
    (probe,) = ROOM.probes(job, ROOM.observe(job, Cluster(case["cluster"]), {}))
    assert isinstance(probe, HttpProbe)
    assert probe.target == "http://10.1.0.1:8081/progress"
    server = HttpServer(health(Progress(asked=3, total=40, errors=1)))
    port = await server.start("127.0.0.1:0")
    pages = Pages(timeout_seconds=60)
    try:
        here = HttpProbe(
            name=probe.name, address="127.0.0.1", port=port, path=probe.path, decode=probe.decode
        )
        assert probe.decode(await pages.read(here)) == {"asked": 3, "total": 40, "errors": 1}
    finally:
        await pages.close()
        await server.stop()
