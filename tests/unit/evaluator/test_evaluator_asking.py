"""Asking through trouble: what is tried again, what is an error, what ends the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from evaluation_stage import refusal
from innervate_evaluator import asking
from innervate_evaluator.asking import Answer, Gateway, Unanswered
from innervate_evaluator.config import RunnerConfig
from innervate_evaluator.dataset import Question
from innervate_evaluator.failures import RunFailed
from innervate_evaluator.runner import order

if TYPE_CHECKING:
    from evaluation_stage import Stage


async def ask(exam: Stage, *, release: str | None = "a", **run: Any) -> Answer:
    config = RunnerConfig.model_validate(exam.config(run=run))
    async with Gateway(config.target, config.job, config.run, config.paths) as gateway:
        return await gateway.ask("3+3", release=release)


def at_first(response: Any) -> Any:
    return lambda _asked, times: response() if times < 2 else None


@pytest.mark.parametrize(
    "response",
    [
        lambda: refusal(503),
        lambda: refusal(429, retry_after="1"),
        lambda: refusal(404),
        lambda: refusal(401),
        lambda: web.Response(text="<html>", status=502),
        lambda: web.Response(text="no completion"),
        lambda: web.json_response({"choices": [{"message": {"content": None}}]}),
        lambda: web.json_response(
            {"choices": [{"message": {"content": "7"}}]}, headers={"x-innervate-release": "b"}
        ),
    ],
    ids=["unavailable", "busy", "unknown", "token", "proxy", "garbage", "empty", "other-release"],
)
async def test_what_passes_by_itself_is_tried_again(exam: Stage, response: Any) -> None:
    exam.gateway.trouble = at_first(response)
    answer = await ask(exam)
    assert (answer.output, answer.release, answer.input_tokens) == ("6", "a", 3)
    assert len(exam.gateway.asked) == 3


async def test_a_gateway_that_hangs_is_given_up_and_asked_again(exam: Stage) -> None:
    exam.gateway.delay = 3600
    with pytest.raises(Unanswered) as error:
        await ask(exam, requestSeconds=1, retrySeconds=0)
    assert error.value.infrastructure
    assert "no answer within 1 s" in error.value.message


async def test_a_question_that_is_refused_is_not_asked_again(exam: Stage) -> None:
    exam.gateway.trouble = lambda _asked, _times: refusal(400)
    with pytest.raises(Unanswered) as error:
        await ask(exam)
    assert not error.value.infrastructure
    assert error.value.message == "status 400: status 400 of the test"
    assert len(exam.gateway.asked) == 1


async def test_nobody_is_followed_elsewhere(exam: Stage) -> None:
    """A redirect would send the token to whoever it names."""
    exam.gateway.trouble = lambda _asked, _times: web.Response(status=307, headers={"location": "/elsewhere"})
    with pytest.raises(Unanswered) as error:
        await ask(exam)
    assert "status 307" in error.value.message


async def test_without_a_release_the_pool_chooses(exam: Stage) -> None:
    answer = await ask(exam, release=None)
    assert answer.release == "chosen"


async def test_an_endless_answer_is_an_error(exam: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_MAX_BODY_BYTES", 1000)
    exam.gateway.trouble = lambda _asked, _times: web.Response(text="x" * 2000)
    with pytest.raises(Unanswered) as error:
        await ask(exam)
    assert not error.value.infrastructure


async def test_a_gateway_that_answers_nothing_ends_the_run(
    exam: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_SILENCE_SECONDS", 0.0)
    exam.gateway.trouble = lambda _asked, _times: refusal(503)
    with pytest.raises(RunFailed) as error:
        await ask(exam, retrySeconds=0)
    assert error.value.reason == "GatewayFailing"
    assert "status 503" in error.value.message


def test_the_seed_determines_the_order() -> None:
    asked = [Question(id=f"q{number}", input="x", expected=("y",), cluster="") for number in range(40)]

    def ordered(seed: int) -> list[tuple[str, str]]:
        return [(question.id, arm) for question, arm in order(asked, ("target", "baseline"), seed=seed)]

    assert ordered(1) == ordered(1) != ordered(2)
    assert sorted(ordered(1)) == sorted((each.id, arm) for each in asked for arm in ("target", "baseline"))
    turns = [ordered(1)[index : index + 2] for index in range(0, 80, 2)]
    assert all(first[0] == second[0] for first, second in turns), "both arms one after the other"
    assert {first[1] for first, _ in turns} == {"target", "baseline"}, "neither arm always goes first"
