"""A crash before or after every write of a pipeline's story leads to the same final state."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from innervate_kinds.api.kind import Reference
from innervate_kinds.eval_job.model import EVAL_JOB
from innervate_kinds.inference_pool.model import INFERENCE_POOL
from innervate_kinds.learning_pipeline.model import LEARNING_PIPELINE
from innervate_kinds.learning_pipeline.names import COMMAND
from innervate_kinds.model_release.model import MODEL_RELEASE

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

RELEASES = ("sound", "refused", "worse", "better")
STORY = [
    ("refused", "Refused", "GateFailed"),
    ("worse", "RolledBack", "Detected"),
    ("better", "Promoted", "NonInferior"),
]
STEP = {"minSeconds": 0, "minUnits": 50, "maxSeconds": 3600}
SPEC = {
    "inferencePoolRef": {"name": "pool"},
    "candidates": [{"name": name, "releaseRef": {"name": name}} for name in RELEASES[1:]],
    "gates": [
        {
            "name": "quality",
            "evalJobTemplate": {
                "dataset": {"configMapRef": {"name": "golden", "key": "golden.jsonl"}},
                "scorers": [{"name": "right", "type": "Exact"}],
                "gate": {"metric": "right", "margin": "0.02"},
            },
        }
    ],
    "rollout": {"steps": [{"percent": 10, **STEP}, {"percent": 50, **STEP}], "keepWarmSeconds": 3600},
}


async def declare(admin, kind, namespace, name, spec):
    manifest = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
    await admin.apply(Reference.of(kind, manifest), manifest, manager="test")


async def begin(admin, namespace):
    """Declare releases, a pool and a pipeline."""
    for name in RELEASES:
        artifact = {"uri": "pvc://releases", "digest": "sha256:" + f"{RELEASES.index(name):064x}"}
        await declare(admin, MODEL_RELEASE, namespace, name, {"artifact": artifact})
    pool = {
        "model": {"name": "m", "releaseRef": {"name": "sound"}},
        "variants": [{"name": "cpu", "engine": "LlamaCpp"}],
    }
    await declare(admin, INFERENCE_POOL, namespace, "pool", pool)
    await declare(admin, LEARNING_PIPELINE, namespace, "p", SPEC)


async def state(admin, namespace):
    """All that a story decides; counts, times and what they are told with differ from run to run."""
    pipeline = await admin.get(Reference(LEARNING_PIPELINE, namespace, "p"))
    pool = await admin.get(Reference(INFERENCE_POOL, namespace, "pool"))
    status = pipeline.get("status") or {}
    jobs = []
    async for page in admin.pages(EVAL_JOB, namespace):
        jobs += [(item["metadata"]["name"], item["spec"]["target"]["releaseRef"]) for item in page.items]
    return {
        "stable": status.get("stable"),
        "step": status.get("step"),
        "rollout": status.get("rollout"),
        "detected": (status.get("detection") or {}).get("release"),
        "previous": (status.get("previous") or {}).get("release"),
        "completed": status.get("completed"),
        "history": [
            (entry.get("candidate"), entry["verdict"], entry["reason"], "from" in entry, "to" in entry)
            for entry in status.get("history") or ()
        ],
        "ready": [each["status"] for each in status.get("conditions") or () if each["type"] == "Ready"],
        "traffic": [
            (arm["name"].rpartition("-")[0], arm["releaseRef"]["name"], arm["weight"], arm["role"])
            for arm in pool["spec"].get("traffic") or ()
        ],
        "jobs": sorted(jobs, key=str),
    }


def told(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [entry[:3] for entry in reversed(found["history"]) if entry[0]]


async def finished(admin, namespace):
    """The state at the story's end."""
    found = {}
    for _ in range(1200):
        found = await state(admin, namespace)
        if len(told(found)) == len(STORY) and found["step"] is None:
            return found
        await asyncio.sleep(0.2)
    pytest.fail(f"the story does not end: {found}")


async def rest_is_silent(admin, namespace, fate):
    """At rest a visit writes nothing, and a decision is written once: here that a command is refused."""
    reference = Reference(LEARNING_PIPELINE, namespace, "p")

    async def command(identity):
        text = json.dumps({"id": identity, "action": "approve"})
        await admin.merge(reference, {"metadata": {"annotations": {COMMAND: text}}}, manager="test")
        for _ in range(600):
            status = (await admin.get(reference))["status"]
            if status.get("lastCommand", {}).get("id") == identity:
                return status["lastCommand"]["result"]
            await asyncio.sleep(0.1)
        return pytest.fail(f"the command is not handled: {status}")

    assert await command("first") == "Refused"
    count = fate.count
    for number in range(3):
        assert await command(f"number-{number}") == "Refused"
    assert fate.count == count + 3


@pytest.fixture
def live(plane, admin, namespace, operate, serve):
    """Let a story happen, by as many processes as it takes; gives its end and the number of them."""

    async def run(name, fate, *, then=None):
        mine = await namespace(name)
        await begin(admin, mine)
        end = asyncio.create_task(finished(admin, mine))
        processes = 0
        async with serve(admin, mine) as gateway:
            while not end.done():
                processes += 1
                async with operate(plane, gateway, mine, fate) as work:
                    await asyncio.wait([work, end], return_when=asyncio.FIRST_COMPLETED)
                    if then and end.done():
                        await then(admin, mine, fate)
        return await end, processes

    return run


async def test_a_crash_before_or_after_every_write_leads_to_the_same_state(live, fate):
    undisturbed, before, after = fate(), fate(before=True), fate(before=False)
    expected, processes = await live("undisturbed", undisturbed, then=rest_is_silent)
    assert processes == 1
    assert told(expected) == STORY
    assert expected["stable"] == "better"
    assert expected["traffic"] == [
        ("stable-3", "sound", 0, "Candidate"),
        ("candidate-3", "better", 100, "Stable"),
    ]
    async with asyncio.TaskGroup() as group:
        lives = [
            group.create_task(live("dying-before", before)),
            group.create_task(live("dying-after", after)),
        ]
    for life, disturbed in zip(lives, (before, after), strict=True):
        found, processes = life.result()
        assert found == expected
        # Every write of the story, and with it every decision, cut some process's life short.
        assert disturbed.writes >= undisturbed.writes
        assert processes >= len(undisturbed.writes) >= 25
