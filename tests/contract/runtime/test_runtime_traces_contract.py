"""Traces of reconciles: one each, linked to their cause, with every apply in them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, Reference
from innervate_kinds.api.names import TRACEPARENT
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytestmark = pytest.mark.contract
CAUSE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider.get_tracer("test")


def traceparent(span):
    return f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"


async def test_one_span_per_reconcile_linked_to_the_clients_trace_with_a_child_per_apply(
    stage, wait, spans, tracer
):
    async with stage.engine(tracer=tracer) as engine:
        await stage.declare(text="x", secret=True, annotations={TRACEPARENT: CAUSE})
        gadget = await stage.ready()
        await wait(lambda: engine.queue.depth == 0 and engine.queue.running == 0)
    roots = [span for span in spans.get_finished_spans() if span.parent is None]
    assert {root.name for root in roots} == {"reconcile Gadget"}
    assert len({root.context.trace_id for root in roots}) == len(roots)
    for root in roots:
        (link,) = root.links
        assert f"{link.context.trace_id:032x}" in CAUSE
        assert root.attributes["k8s.object.name"] == "g"
        assert root.attributes["innervate.result"] == "done"
    first = min(roots, key=lambda root: root.start_time)
    children = [span.name for span in spans.get_finished_spans() if span.parent == first.context]
    assert children == ["create Secret", "apply ConfigMap", "apply Deployment"]
    assert gadget["status"]["trace"] == {"generation": 1, "traceparent": traceparent(first)}
    # The annotation is the client's.
    assert gadget["metadata"]["annotations"] == {TRACEPARENT: CAUSE}


async def test_the_trace_in_the_status_changes_with_the_generation_alone(stage, wait, spans, tracer):
    async with stage.engine(tracer=tracer, resync_seconds=0.1) as engine:
        await stage.declare(text="one")
        first = (await stage.ready())["status"]["trace"]
        seen = []
        engine.on_finished = lambda: seen.append(1)
        await wait(lambda: len(seen) > 3)
        assert (await stage.admin.get(stage.gadget()))["status"]["trace"] == first
    async with stage.engine(tracer=tracer):
        await stage.declare(text="two")
        second = (await stage.ready())["status"]["trace"]
    assert second["generation"] == 2
    assert second["traceparent"] in {traceparent(span) for span in spans.get_finished_spans()}


async def test_a_kind_that_goes_through_steps_has_a_trace_for_each(stage, wait, spans, tracer):
    room = replace(stage.room, acts_on=("copied",), chapter=lambda status: status.get("copied", ""))
    source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "steps"}}
    reference = Reference(CONFIG_MAP, stage.namespace, "steps")

    async def say(step):
        source["metadata"] = {"name": "steps", "namespace": stage.namespace, "annotations": {"say": step}}
        await stage.admin.apply(reference, source, manager="test")

        async def told():
            trace = (await stage.admin.get(stage.gadget()))["status"].get("trace", {})
            return trace if trace.get("chapter") == step else None

        await wait(told)
        return await told()

    async with stage.engine(room, tracer=tracer, resync_seconds=0.1) as engine:
        await stage.declare(text="x", source="steps")
        await stage.ready()
        first = await say("first")
        second = await say("second")
        seen = []
        engine.on_finished = lambda: seen.append(1)
        await wait(lambda: len(seen) > 3)
        assert (await stage.admin.get(stage.gadget()))["status"]["trace"] == second
    assert first["generation"] == second["generation"] == 1
    made = {traceparent(span) for span in spans.get_finished_spans()}
    assert {first["traceparent"], second["traceparent"]} <= made
    assert first["traceparent"] != second["traceparent"]


async def test_a_bug_is_on_the_span_and_not_in_the_condition(stage, wait, spans, tracer):
    async with stage.engine(tracer=tracer):
        await stage.declare(trouble="bug")
        await wait(lambda: stage.condition("Reconciling"))
    root = next(span for span in spans.get_finished_spans() if span.parent is None)
    assert root.events[0].attributes["exception.type"] == "KeyError"
    assert root.attributes["innervate.result"] == "bug"


async def test_without_a_collector_a_status_names_no_trace(stage):
    async with stage.engine():
        await stage.declare(text="x")
        assert "trace" not in (await stage.ready())["status"]
