"""A Job is made once, goes on with the trace of its making, and is then left as it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from innervate_kinds.api.kind import JOB
from innervate_kinds.api.plan import Child, Plan
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytestmark = pytest.mark.contract


def jobs(gadget, _observed, _config, _now):
    """One Job, whose pods say what the gadget says."""
    container = {"name": "main", "image": "none", "env": [{"name": "SAY", "value": gadget.spec.text}]}
    sidecar = {"name": "side", "image": "none", "restartPolicy": "Always"}
    metadata = {"name": f"{gadget.metadata.name}-gadget", "namespace": gadget.metadata.namespace}
    template = {"spec": {"restartPolicy": "Never", "initContainers": [sidecar], "containers": [container]}}
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}
    return Plan(apply=(Child(JOB, manifest),))


@pytest.fixture
def room(stage):
    return replace(stage.room, children=(JOB,), ensured=(), plan=jobs)


@pytest.fixture
def spans():
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider.get_tracer("test")


async def test_every_container_of_a_job_goes_on_with_the_trace_that_made_it(stage, room, spans, tracer):
    async with stage.engine(room, tracer=tracer):
        await stage.declare(text="hello")
        await stage.ready()
        job = await stage.admin.get(stage.child(JOB))
    (span,) = [span for span in spans.get_finished_spans() if span.name == "apply Job"]
    pod = job["spec"]["template"]["spec"]
    expected = {
        "name": "TRACEPARENT",
        "value": f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01",
    }
    assert pod["containers"][0]["env"] == [{"name": "SAY", "value": "hello"}, expected]
    assert pod["initContainers"][0]["env"] == [expected]


async def test_a_job_stays_as_it_was_made(stage, room):
    async with stage.engine(room):
        await stage.declare(text="one")
        await stage.ready()
        await stage.declare(text="two")
        told = await stage.ready()
        job = await stage.admin.get(stage.child(JOB))
    assert told["status"]["text"] == "two"
    assert job["spec"]["template"]["spec"]["containers"][0]["env"] == [{"name": "SAY", "value": "one"}]
    assert stage.writes()["apply", "Job"] == 1
