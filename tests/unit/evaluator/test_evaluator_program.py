"""The runner as a program: what it asks, what it leaves, and what a kill does to it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from evaluation_stage import questions, refusal
from innervate_local.certificates import Authority

if TYPE_CHECKING:
    from aiohttp import web
    from evaluation_stage import Asked, Stage


async def test_a_worse_release_fails_and_the_report_says_where(exam: Stage) -> None:
    exam.dataset.write_text(questions(40))
    code, words = await exam.run()
    assert code == 0
    assert words["verdict"] == "Failed"
    assert words["counts"] == {"samples": 40, "answered": 40, "errors": 0}
    assert words["summary"][0]["value"] == "0.5000"
    comparison = words["comparison"]
    assert comparison["difference"] == "-0.5000"
    assert float(comparison["low"]) < -0.5 < float(comparison["high"]) < -0.1
    assert len(exam.termination.read_bytes()) <= 4096
    report = json.loads((exam.data / "report.json").read_text())
    assert report["verdict"] == "Failed"
    assert report["releases"] == {"baseline": {"a": 40}, "target": {"b": 40}}
    page = (exam.data / "report.html").read_text()
    assert "Right for the baseline, wrong for the target: 20" in page
    assert "0+0" in page


async def test_a_release_as_good_as_itself_passes(exam: Stage) -> None:
    exam.dataset.write_text(questions(60))
    _, words = await exam.judge(
        target={"endpoint": f"https://localhost:{exam.port}", "model": "tutor", "release": "a"}
    )
    assert words["verdict"] == "Passed"
    assert words["comparison"]["difference"] == "0.0000"


async def test_few_questions_are_underpowered_and_say_what_could_be_told(exam: Stage) -> None:
    exam.dataset.write_text(questions(8))
    code, words = await exam.judge(gate={"metric": "exact", "test": "NonInferior", "margin": "0.5"})
    assert code == 0
    assert words["verdict"] == "Underpowered"
    comparison = words["comparison"]
    assert float(comparison["detectable"]) > float(comparison["high"]) - float(comparison["difference"])


async def test_clusters_are_the_units(exam: Stage) -> None:
    exam.dataset.write_text(questions(40, cluster=4))
    _, words = await exam.judge(
        target={"endpoint": f"https://localhost:{exam.port}", "model": "tutor", "release": "a"},
        gate={"metric": "exact", "test": "NonInferior", "margin": "0.9", "minSamples": 11},
    )
    assert words["comparison"]["n"] == 10
    assert words["verdict"] == "Underpowered"


async def test_a_fixed_baseline_needs_no_second_release(exam: Stage) -> None:
    exam.dataset.write_text(questions(40))
    _, words = await exam.judge(baseline={"value": "0.90"})
    assert words["verdict"] == "Failed"
    assert {asked.release for asked in exam.gateway.asked} == {"b"}
    assert words["comparison"]["difference"] == "-0.4000"


async def test_requests_say_whose_they_are(exam: Stage) -> None:
    exam.dataset.write_text(questions(2))
    await exam.run()
    for asked in exam.gateway.asked:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        assert headers["x-innervate-task"] == "exam"
        assert headers["x-innervate-deadline-seconds"] == "200"
        assert headers["traceparent"].startswith("00-")


@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_random_moments_it_asks_nothing_again_that_it_kept(exam: Stage, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    exam.dataset.write_text(questions(60))
    exam.gateway.delay = 0.005
    kept: set[tuple[str, str]] = set()
    for _ in range(3):
        process = await exam.start()
        before = len(exam.gateway.asked)
        arrived = asyncio.create_task(exam.gateway.until(before + chance.randrange(1, 30)))
        ended = asyncio.create_task(process.wait())
        await asyncio.wait([arrived, ended], return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await ended
        asked = {(asked.text, asked.release) for asked in exam.gateway.asked[before:]}
        assert not asked & kept
        kept = {
            (line["id"].removeprefix("q") + "+" + line["id"].removeprefix("q"), line["release"])
            for line in exam.lines()
        }
    before = len(exam.gateway.asked)
    code, words = await exam.run()
    assert code == 0
    assert not {(asked.text, asked.release) for asked in exam.gateway.asked[before:]} & kept
    assert words["counts"] == {"samples": 60, "answered": 60, "errors": 0}
    assert words["comparison"]["difference"] == "-0.5000"
    lines = Counter((line["id"], line["arm"]) for line in exam.lines())
    assert len(lines) == 120
    assert set(lines.values()) == {1}


async def test_a_finished_run_tells_the_same_again_and_asks_nothing(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))
    _, first = await exam.judge()
    before = len(exam.gateway.asked)
    code, second = await exam.judge()
    assert (code, second) == (0, first)
    assert len(exam.gateway.asked) == before


async def test_a_broken_dataset_is_refused_before_anything_is_asked(exam: Stage) -> None:
    exam.dataset.write_text(questions(2) + "{broken\n")
    code, words = await exam.run()
    assert code == 2
    assert words["error"]["reason"] == "DatasetRefused"
    assert "line 3: is no JSON" in words["error"]["message"]
    assert exam.gateway.asked == []


async def test_errors_beyond_the_share_fail_the_run_and_are_asked_again_by_the_next(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))

    def down(asked: Asked, _times: int) -> web.Response | None:
        return refusal(503) if asked.text == "3+3" else None

    exam.gateway.trouble = down
    code, words = await exam.judge(run={"retrySeconds": 0})
    assert code == 3
    assert words["error"]["reason"] == "TooManyErrors"
    assert "503" in words["error"]["message"]
    exam.gateway.trouble = lambda _asked, _times: None
    code, words = await exam.judge()
    assert code == 0
    assert words["counts"] == {"samples": 10, "answered": 10, "errors": 0}


async def test_a_question_nobody_can_answer_is_an_error_and_no_wrong_answer(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))
    exam.gateway.trouble = lambda asked, _times: refusal(400) if asked.text == "3+3" else None
    code, words = await exam.judge(run={"maxErrorShare": "0.1"})
    assert code == 0
    assert words["counts"] == {"samples": 10, "answered": 9, "errors": 1}
    assert words["summary"][0]["n"] == 9
    assert words["summary"][0]["value"] == "0.4444", "four of the nine that were answered"
    assert sum(asked.text == "3+3" for asked in exam.gateway.asked) == 2, "each arm is asked once"


async def test_questions_that_are_all_refused_end_the_run_for_good(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))
    exam.gateway.trouble = lambda _asked, _times: refusal(400)
    code, words = await exam.judge()
    assert code == 2
    assert words["error"]["reason"] == "TooManyErrors"


async def test_a_closed_door_is_told_at_once(exam: Stage) -> None:
    exam.dataset.write_text(questions(10))
    exam.gateway.trouble = lambda _asked, _times: refusal(403)
    code, words = await exam.judge()
    assert code == 2
    assert words["error"]["reason"] == "AccessDenied"


async def test_a_stranger_is_not_asked(exam: Stage) -> None:
    """A gateway whose certificate is not of our authority gets neither token nor questions."""
    exam.dataset.write_text(questions(2))
    (exam.directory / "ca.crt").write_bytes(Authority("others").root.certificate)
    code, words = await exam.judge(run={"retrySeconds": 0})
    assert code == 3
    assert "certificate" in words["error"]["message"].lower()
    assert exam.gateway.asked == []
