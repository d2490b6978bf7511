"""One trace leads from whoever started the job over each question to the gateway, scores included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import innervate_evaluator.__main__ as program
from evaluation_stage import questions, refusal
from innervate_evaluator import runner
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

if TYPE_CHECKING:
    import pytest
    from evaluation_stage import Stage

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_every_question_is_a_span_with_its_scores(exam: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for module in (program, runner):
        monkeypatch.setattr(module, "_tracer", provider.get_tracer("test"))
    monkeypatch.setenv("TRACEPARENT", PARENT)
    exam.dataset.write_text(questions(4))
    exam.gateway.trouble = lambda asked, _times: refusal(400) if asked.text == "3+3" else None
    code, _ = await exam.judge(run={"maxErrorShare": "0.5"})
    assert code == 0

    spans = exporter.get_finished_spans()
    assert {format_trace_id(span.context.trace_id) for span in spans} == {PARENT.split("-")[1]}
    (job,) = [span for span in spans if span.name == "evaluate"]
    assert job.parent is not None
    assert format_span_id(job.parent.span_id) == PARENT.split("-")[2]
    assert job.attributes is not None
    assert job.attributes["innervate.eval.verdict"] == "Underpowered"

    asked = [span for span in spans if span.name == "chat tutor"]
    assert len(asked) == 8
    assert all(span.parent is not None and span.parent.span_id == job.context.span_id for span in asked)
    headers = {
        {name.lower(): value for name, value in each.headers.items()}["traceparent"].split("-")[2]
        for each in exam.gateway.asked
    }
    assert headers == {format_span_id(span.context.span_id) for span in asked}
    failed = [span for span in asked if not span.status.is_ok and span.status.description]
    assert len(failed) == 2, "both arms were asked the question that is refused"
    for span in asked:
        if span in failed:
            assert not span.events
            continue
        (event,) = span.events
        assert event.name == "gen_ai.evaluation.result"
        assert event.attributes is not None
        assert event.attributes["gen_ai.evaluation.name"] == "exact"
        assert event.attributes["gen_ai.evaluation.score.value"] in {0.0, 1.0}
