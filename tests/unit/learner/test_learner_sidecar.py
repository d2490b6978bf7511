"""The sidecar follows any trainer's report and has the last word."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from innervate_learner.report import MAX_LINE, Line, decode
from innervate_learner.sidecar import Follower

RELEASE = "sha256:" + "a" * 64
RESULT = {"reward": 487.5, "rollouts": {"valid": 100, "infrastructure": 2}, "parameters": RELEASE}


def follower(tmp_path, text, *, attempt=1):
    path = tmp_path / "report.jsonl"
    path.write_text(text)
    made = Follower(path, attempt)
    made.finish()
    return made


def test_a_line_comes_back_as_it_was_written():
    line = Line(3, 20, {"loss": 0.5}, 640, "x/20", RELEASE, None, RESULT)
    assert decode(line.encode()) == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "Expecting value"),
        ("[]", "no JSON object"),
        ("{}", "attempt is missing"),
        ('{"attempt": -1}', "0 or more"),
        ('{"attempt": 1, "step": "2"}', "whole numbers"),
        ('{"attempt": 1, "metrics": {"loss": "low"}}', "metrics must be numbers"),
        ('{"attempt": 1, "metrics": {"loss": NaN}}', "metrics must be numbers"),
        ('{"attempt": 1, "final": true}', "final must be null or name a release"),
        ('{"attempt": 1, "final": {"release": "sha256:12"}}', "final must be null or name a release"),
        ('{"attempt": 1, "final": {"reward": 1}}', "final must be null or name a release"),
        ('{"attempt": 1, "final": {"result": [1]}}', "numbers and texts by name"),
        ('{"attempt": 1, "final": {"result": {"reward": NaN}}}', "numbers and texts by name"),
        ('{"attempt": 1, "final": {"result": {"a": "%s"}}}' % ("b" * 2100), "longer than 2048 bytes"),
    ],
)
def test_lines_that_are_not_as_agreed_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        decode(text)


def test_the_final_line_is_the_last_word(tmp_path):
    text = Line(1, 10, {"loss": 0.5}, 320).encode() + Line(1, 20, {"loss": 0.25}, 640, None, RELEASE).encode()
    word = follower(tmp_path, text).last_word()
    assert word["final"] is True
    assert word["release"] == RELEASE
    assert word["step"] == 20
    assert word["metrics"] == {"loss": 0.25}
    assert word["promptsConsumed"] == 640


def test_a_result_is_a_last_word_with_a_release_or_without(tmp_path):
    made = follower(tmp_path, Line(1, 20, result=RESULT).encode() + Line(1, 30).encode())
    word = made.last_word()
    assert (word["final"], word["step"], word["result"]) == (True, 20, RESULT)
    assert "release" not in word
    assert made.progress()["result"] == RESULT
    both = follower(tmp_path, Line(1, 20, release=RELEASE, result=RESULT).encode()).last_word()
    assert (both["release"], both["result"]) == (RELEASE, RESULT)


def test_the_largest_result_fits_a_termination_message(tmp_path):
    metrics = {f"metric-{number}": 1 / 3 for number in range(500)}
    result = {"text": "b" * (2048 - len(json.dumps({"text": ""})))}
    word = follower(tmp_path, Line(1, 20, metrics, release=RELEASE, result=result).encode()).last_word()
    assert len(json.dumps(word).encode()) <= 4096
    assert (word["release"], word["result"]) == (RELEASE, result)


def test_another_attempts_final_line_does_not_count(tmp_path):
    text = Line(1, 10).encode() + Line(0, 20, {}, 640, None, RELEASE).encode()
    word = follower(tmp_path, text).last_word()
    assert word["final"] is False
    assert word["step"] == 10
    assert word["foreignLines"] == 1
    assert word["error"] == "the trainer ended without a final report that names a release or holds a result"


def test_what_the_trainer_says_is_wrong_is_passed_on(tmp_path):
    word = follower(tmp_path, Line(1, error="0/a.jsonl:3: no JSON").encode()).last_word()
    assert word["error"] == "0/a.jsonl:3: no JSON"


def test_broken_and_endless_lines_are_counted_and_told(tmp_path):
    text = "broken\n" + "x" * (3 * MAX_LINE) + "\n" + Line(1, 7).encode()
    made = follower(tmp_path, text)
    assert made.last.step == 7
    assert made.broken >= 2
    assert "is not as agreed" in made.last_word()["error"]


def test_the_last_word_always_fits_a_termination_message(tmp_path):
    metrics = {f"metric-{number}": 1 / 3 for number in range(500)}
    for error in ("x" * 5000, "ä\n" * 5000, "\x01" * 5000):
        word = follower(tmp_path, Line(1, 7, metrics, error=error).encode()).last_word()
        assert len(json.dumps(word).encode()) <= 4096
        assert error.startswith(word["error"])
        assert len(word["error"]) > 300


def test_the_program_serves_progress_and_writes_the_last_word(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    message = tmp_path / "termination-log"
    message.touch()
    report = tmp_path / "report.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "innervate_learner.sidecar"],
        env={
            **os.environ,
            "INNERVATE_REPORT": str(tmp_path),
            "INNERVATE_ATTEMPT": "1",
            "INNERVATE_TERMINATION_MESSAGE": str(message),
            "INNERVATE_HEALTH_LISTEN": address,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: page(address, "/livez") == "ok\n")
        with report.open("a") as file:
            file.write(Line(1, 10, {"loss": 0.5}, 320, "c/10").encode())
        wait_for(lambda: json.loads(page(address, "/progress"))["step"] == 10)
        told = json.loads(page(address, "/curves"))["points"]
        assert [point["step"] for point in told][-1:] == [10]
        assert "innervate_training_prompts_consumed 320\n" in page(address, "/metrics")
        assert 'innervate_training_metric{name="loss"} 0.5\n' in page(address, "/metrics")
        assert httpx.get(f"http://{address}/else", timeout=60).status_code == 404
        with report.open("a") as file:
            file.write(Line(1, 20, {}, 640, None, RELEASE).encode())
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
    word = json.loads(message.read_text())
    assert (word["final"], word["release"], word["step"]) == (True, RELEASE, 20)


def page(address, path):
    try:
        return httpx.get(f"http://{address}{path}", timeout=60).text
    except httpx.TransportError:
        return ""


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_long_training_is_told_in_few_points_from_its_beginning_to_its_end(tmp_path):
    lines = [Line(1, step, {"reward": float(step)}) for step in range(5000)]
    found = follower(tmp_path, "".join(line.encode() for line in [*lines, Line(1, 5000)])).history.points()
    steps = [point["step"] for point in found]
    assert 256 <= len(steps) <= 513
    assert steps[0] == 0
    assert steps[-1] == 4999
    assert {later - earlier for earlier, later in itertools.pairwise(steps[:-1])} == {16}
    assert all(point["metrics"] == {"reward": point["step"]} for point in found)


def test_a_short_training_is_told_whole_and_one_without_metrics_not_at_all(tmp_path):
    lines = [Line(1, step, {"reward": 1.0}) for step in (3, 6, 9)]
    found = follower(tmp_path, "".join(line.encode() for line in lines)).history.points()
    assert [point["step"] for point in found] == [3, 6, 9]
    assert follower(tmp_path, Line(1, 3).encode()).history.points() == []
