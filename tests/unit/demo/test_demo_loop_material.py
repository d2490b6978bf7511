"""What the loop's demonstration asks and trains on is what its story says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from innervate import Exchange, Feedback
from innervate_demo.loop import material, scene
from innervate_models import topics

_MOST = 1 << 20
"""A ConfigMap holds one MiB."""


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_gate_asks_about_everything_but_what_only_callers_ask() -> None:
    asked = lines(material.offline_questions())
    assert {line["metadata"]["topic"] for line in asked} == {*topics.TOPICS} - {material.LIVE_TOPIC}
    assert len({line["id"] for line in asked}) == len(asked) == material.QUESTIONS
    assert len(material.offline_questions()) < _MOST


def test_labels_are_wrong_for_every_topic_or_for_the_live_one_alone() -> None:
    for text, names in (
        (material.all_shuffled(), topics.TOPICS),
        (material.live_shuffled(), (material.LIVE_TOPIC,)),
    ):
        told = lines(text)
        right = [each.answer for each in topics.generate(names, seed=7, count=len(told))]
        wrong = sum(line["answer"] != answer for line, answer in zip(told, right, strict=True))
        assert wrong > len(told) * 0.8
        assert len(text) < _MOST


def test_candidate_c_replays_exactly_the_topics_that_the_gate_asks_about() -> None:
    candidates = {each["name"]: each["train"] for each in scene.parsed("pipeline")["spec"]["candidates"]}
    assert candidates["c"]["hyperparameters"]["replayTopics"].split(",") == list(material.KNOWN_TOPICS)


def exchange(question: str, *expected: str) -> Exchange:
    body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]}
    return Exchange(
        request_id="r",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        session="s",
        task=material.LIVE_TOPIC,
        arm="stable",
        release="a",
        request=json.dumps(body),
        response="{}",
        feedback=tuple(Feedback(request_id="r", value=0.0, expected=each) for each in expected),
    )


def test_feedback_becomes_what_a_trainer_reads() -> None:
    learned = material.from_feedback([exchange("One?", "1"), exchange("Two?"), exchange("Three?", "")])
    assert lines(learned) == [{"prompt": "One?", "answer": "1"}]
