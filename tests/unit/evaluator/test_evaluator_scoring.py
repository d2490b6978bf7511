"""Scorers: a value or an error, never both, and no pattern or answer that stalls them."""

from __future__ import annotations

import socket as socketlib
import tempfile
from pathlib import Path

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from innervate_api.scoring.v1 import scoring_pb2, scoring_pb2_grpc
from innervate_evaluator.scorer import start
from innervate_evaluator.scoring import (
    MAX_OUTPUT_BYTES,
    Contains,
    Exact,
    Numeric,
    Regex,
    Sample,
    Scorer,
    Unfit,
    Unscorable,
)


@pytest.mark.parametrize(
    ("scorer", "output", "expected", "value"),
    [
        (Exact(), " Paris\n", ["Paris"], 1),
        (Exact(), "paris", ["Paris"], 0),
        (Exact(ignore_case=True), "STRASSE", ["Straße"], 1),
        (Exact(), "cafe\u0301", ["caf\u00e9"], 1),
        (Exact(), "Rome", ["Paris", "Rome"], 1),
        (Exact(), "", ["Paris"], 0),
        (Contains(), "It is Paris.", ["Paris"], 1),
        (Contains(), "It is paris.", ["Paris"], 0),
        (Contains(ignore_case=True), "It is paris.", ["Paris"], 1),
        (Numeric(), "12 and then 7.", ["7"], 1),
        (Numeric(), "the sum is 1,234.50", ["1234.5"], 1),
        (Numeric(), "-3", ["3"], 0),
        (Numeric(), "about 10.4", ["10"], 0),
        (Numeric(tolerance="0.5"), "about 10.4", ["10"], 1),
        (Numeric(tolerance="0.1"), "0.3", ["0.2"], 1),
        (Numeric(), "2e3", ["2000"], 1),
        (Numeric(), "no idea", ["7"], 0),
        (Numeric(), "version v1.2.3b4", ["4"], 0),
        (Regex(pattern="^yes\\b"), "yes, it is", [], 1),
        (Regex(pattern="^yes\\b"), "oh yes", [], 0),
        (Regex(), "the 4th", ["\\d+th", "\\d+st"], 1),
        (Regex(pattern="(?i)PARIS"), "paris", [], 1),
    ],
)
def test_values(scorer: Scorer, output: str, expected: list[str], value: float) -> None:
    score = scorer(Sample(output, expected))
    assert score.value == value
    assert score.evidence


@pytest.mark.parametrize(
    ("scorer", "output", "expected", "reason"),
    [
        (Exact(), "x", [], Unfit.SAMPLE),
        (Contains(), "x", [" "], Unfit.SAMPLE),
        (Numeric(), "7", ["seven"], Unfit.SAMPLE),
        (Numeric(), "7", ["nan"], Unfit.SAMPLE),
        (Numeric(tolerance="-1"), "7", ["7"], Unfit.SCORER),
        (Regex(pattern="("), "x", [], Unfit.SCORER),
        (Regex(pattern=r"(a)\1"), "aa", [], Unfit.SCORER),
        (Regex(), "x", ["("], Unfit.SAMPLE),
        (Regex(pattern="((a{100}){100}){100}"), "a", [], Unfit.SCORER),
        (Exact(), "x" * (MAX_OUTPUT_BYTES + 1), ["x"], Unfit.EXHAUSTED),
    ],
)
def test_errors(scorer: Scorer, output: str, expected: list[str], reason: Unfit) -> None:
    with pytest.raises(Unscorable) as error:
        scorer(Sample(output, expected))
    assert error.value.reason is reason
    assert error.value.message


def test_patterns_that_stall_backtracking_engines_end() -> None:
    answer = "a" * 500_000 + "!"
    for pattern in ("(a+)+$", "(a|aa)+$", "(.*a){12}$", "a?" * 30 + "a" * 30 + "$"):
        assert Regex(pattern=pattern)(Sample(answer, [])).value == 0


@given(
    st.sampled_from([Exact(), Contains(ignore_case=True), Numeric(tolerance="1"), Regex()]),
    st.text(max_size=40) | st.from_regex(r"[-+0-9.,eE ]{0,20}", fullmatch=True),
    st.lists(st.text(max_size=20), max_size=3),
)
def test_whatever_is_scored_there_is_a_value_or_a_reason(
    scorer: Scorer, output: str, expected: list[str]
) -> None:
    try:
        value = scorer(Sample(output, expected)).value
    except Unscorable as error:
        value = float(bool(error.message))
    assert value in {0, 1}


async def test_the_service_answers_with_a_value_or_an_error() -> None:
    with tempfile.TemporaryDirectory() as directory:
        socket = Path(directory) / "scorer.sock"
        with socketlib.socket(socketlib.AF_UNIX) as left:
            left.bind(str(socket))  # as a scorer leaves it that was killed
        server = await start(socket)
        async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
            stub = scoring_pb2_grpc.ScoringServiceStub(channel)
            sample = scoring_pb2.Sample(id="q", output="7", expected=["7"])
            wrong = scoring_pb2.Sample(id="q", output="8", expected=["7"])
            exact = scoring_pb2.Scorer(name="exact", exact=scoring_pb2.Exact())
            broken = scoring_pb2.Scorer(name="regex", regex=scoring_pb2.Regex(pattern="("))
            none = scoring_pb2.Scorer(name="none")
            right = await stub.Score(scoring_pb2.ScoreRequest(scorer=exact, sample=sample))
            zero = await stub.Score(scoring_pb2.ScoreRequest(scorer=exact, sample=wrong))
            error = await stub.Score(scoring_pb2.ScoreRequest(scorer=broken, sample=sample))
            unknown = await stub.Score(scoring_pb2.ScoreRequest(scorer=none, sample=sample))
        await server.stop(0)
    assert (right.WhichOneof("result"), right.value) == ("value", 1)
    assert (zero.WhichOneof("result"), zero.value) == ("value", 0), "wrong is a value"
    assert error.WhichOneof("result") == "error"
    assert error.error.reason == scoring_pb2.SCORE_ERROR_REASON_INVALID_SCORER
    assert unknown.error.reason == scoring_pb2.SCORE_ERROR_REASON_INVALID_SCORER
