"""What a Job and its pods tell, as the API shows them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from innervate_kinds.parts.jobs import job

COMPONENT = "verify"


def pod(name, *, minute, component=COMPONENT, message="", exit_code=0, deleted=False):
    container = {
        "name": "verify",
        "image": "i",
        "state": {"terminated": {"reason": "Completed", "message": message, "exitCode": exit_code}},
    }
    metadata = {
        "name": name,
        "labels": {"app.kubernetes.io/component": component},
        "creationTimestamp": f"2026-01-01T00:{minute:02d}:00Z",
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T01:00:00Z"
    return {"metadata": metadata, "status": {"phase": "Succeeded", "containerStatuses": [container]}}


def conditions(**types):
    return [{"type": name, "status": status, "reason": "R", "message": "m"} for name, status in types.items()]


def test_a_job_that_is_not_there_tells_nothing():
    assert job(None, [pod("a", minute=0)], COMPONENT) is None


def test_a_job_that_runs_is_neither_way_finished():
    found = job({"status": {"startTime": "2026-01-01T00:00:00Z", "failed": 1}}, [], COMPONENT)
    assert found is not None
    assert (found.finished, found.attempts_failed, found.last) == (False, 1, None)
    assert found.started == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.words("verify") is None


def test_the_newest_pod_of_the_component_is_the_attempt_that_counts():
    pods = [
        pod("second", minute=2, message='{"digest": "d2"}'),
        pod("first", minute=1, message='{"digest": "d1"}'),
        pod("other", minute=3, component="train", message='{"digest": "no"}'),
        pod("leaving", minute=4, message='{"digest": "no"}', deleted=True),
    ]
    status = {"conditions": conditions(Complete="True"), "completionTime": "2026-01-01T00:05:00Z"}
    found = job({"status": status}, pods, COMPONENT)
    assert found is not None
    assert found.succeeded
    assert found.ended == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
    assert found.words("verify") == {"digest": "d2"}
    assert found.words("nothing") is None


@pytest.mark.parametrize("message", ["", "Traceback: no JSON", "[1]", '"text"'])
def test_last_words_that_are_no_object_are_none(message):
    found = job({"status": {}}, [pod("a", minute=0, message=message)], COMPONENT)
    assert found is not None
    assert found.words("verify") is None


def test_a_job_fails_for_good_only_by_its_condition():
    about = {"status": {"conditions": conditions(FailureTarget="True", Failed="False")}}
    failed = {"status": {"conditions": conditions(Failed="True")}}
    waiting, ended = job(about, [], COMPONENT), job(failed, [], COMPONENT)
    assert waiting is not None
    assert ended is not None
    assert not waiting.finished
    assert (ended.finished, ended.failed, ended.failed_message) == (True, "R", "m")
