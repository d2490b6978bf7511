"""A pool's start and changes are few writes, idleness is none; what is acknowledged never runs ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from innervate_kinds.api.conditions import merge
from innervate_kinds.api.reader import ProbeResult
from innervate_kinds.inference_pool.model import InferencePool, InferencePoolStatus
from innervate_kinds.inference_pool.room import ROOM
from innervate_operator.status import telling
from kinds_cluster import CONFIG, Cluster, model_release

START = datetime(2026, 1, 1, tzinfo=UTC)
UID = "u"


class Life:
    """One pool, its status written as the runtime does at once: where more differs than words and counts."""

    def __init__(self) -> None:
        self.manifest: dict[str, Any] = {
            "apiVersion": "innervate.dev/v1alpha1",
            "kind": "InferencePool",
            "metadata": {"name": "support", "namespace": "shop", "uid": UID, "generation": 1},
            "spec": {
                "model": {"name": "support", "releaseRef": {"name": "r1"}},
                "variants": [{"name": "cpu", "engine": "LlamaCpp"}],
            },
        }
        self.written: list[InferencePoolStatus] = []
        self.seconds = 0

    def serve(self, release: str) -> None:
        """Change the traffic, as a user does."""
        arm = {"name": release, "releaseRef": {"name": release}, "weight": 100, "role": "Stable"}
        self.manifest["spec"]["traffic"] = [arm]
        self.manifest["metadata"]["generation"] += 1

    def visit(
        self, objects: list[dict[str, Any]], answers: dict[str, Any] | None = None
    ) -> InferencePoolStatus:
        self.seconds += 1
        now = START + timedelta(seconds=self.seconds)
        pool = InferencePool.model_validate(self.manifest)
        probes = {f"routes/{name}": answer(now, told) for name, told in (answers or {}).items()}
        observed = ROOM.observe(pool, Cluster(objects), probes)
        status = ROOM.status(pool, observed, ROOM.plan(pool, observed, CONFIG, now), (), now)
        previous = pool.status.conditions if pool.status else ()
        generation = pool.metadata.generation
        merged = merge(previous, status.conditions, generation=generation, now=now)
        status = status.model_copy(update={"conditions": merged})
        content = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if telling(content, ROOM.acts_on) != telling(self.manifest.get("status") or {}, ROOM.acts_on):
            self.written.append(status)
            self.manifest["status"] = content
        return status


def answer(now: datetime, told: int | None) -> ProbeResult:
    if told is None:
        return ProbeResult(time=now, code="UNAVAILABLE", message="no route")
    releases = ["r1"] if told == 1 else ["r2"]
    return ProbeResult(time=now, value={"generation": told, "releases": releases, "waits_for": ""})


def labels(component: str, **more: str) -> dict[str, str]:
    return {"innervate.dev/owner-uid": UID, "app.kubernetes.io/component": component, **more}


def workload(kind: str, name: str, component: str, available: int, **more: str) -> dict[str, Any]:
    wanted = 2 if component == "gateway" else 1
    return {
        "kind": kind,
        "metadata": {
            "name": f"support-inferencepool{name}",
            "namespace": "shop",
            "generation": 1,
            "labels": labels(component, **more),
        },
        "spec": {"replicas": wanted},
        "status": {
            "observedGeneration": 1,
            "replicas": wanted,
            "updatedReplicas": wanted,
            "availableReplicas": available,
        },
    }


def engine(release: str, available: int = 1) -> dict[str, Any]:
    more = {"innervate.dev/variant": "cpu", "innervate.dev/release": release}
    return workload("Deployment", f"-cpu-{release}", "engine", available, **more)


def objects(redis: int, gateways: int, *engines: dict[str, Any]) -> list[dict[str, Any]]:
    claim = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "support-inferencepool-data", "namespace": "shop", "labels": labels("redis")},
    }
    pods = [
        {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": "shop",
                "labels": labels("gateway"),
                "creationTimestamp": START.isoformat(),
            },
            "status": {
                "podIP": "10.0.0.1",
                "conditions": [{"type": "Ready", "status": str(index < gateways)}],
            },
        }
        for index, name in enumerate(("a", "b"))
    ]
    return [
        claim,
        workload("StatefulSet", "-redis", "redis", redis),
        workload("Deployment", "", "gateway", gateways),
        *engines,
        *pods,
        model_release("r1", "shop"),
        model_release("r2", "shop"),
    ]


def started() -> Life:
    life = Life()
    life.visit(objects(1, 2, engine("r1")), {"a": 1, "b": 1})
    return life


def test_a_start_is_two_writes() -> None:
    life = Life()
    life.visit([model_release("r1", "shop")])
    life.visit(objects(0, 0, engine("r1", 0)))
    life.visit(objects(1, 0, engine("r1", 0)))
    life.visit(objects(1, 0, engine("r1", 1)))
    life.visit(objects(1, 1, engine("r1", 1)))
    status = life.visit(objects(1, 2, engine("r1")), {"a": 1, "b": 1})
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.status == "True"
    assert len(life.written) == 2


def test_idleness_and_a_restart_of_the_operator_write_nothing() -> None:
    life = started()
    written = len(life.written)
    for _ in range(5):
        life.visit(objects(1, 2, engine("r1")), {"a": 1, "b": 1})
    life.visit(objects(1, 2, engine("r1")))
    life.visit(objects(1, 2, engine("r1")), {"a": 1})
    assert len(life.written) == written


def test_a_generation_is_acknowledged_when_the_last_gateway_serves_it() -> None:
    life = started()
    life.serve("r2")
    both = [engine("r1"), engine("r2")]
    told = []
    for answers in ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": None}, {"a": 2}, {"a": 2, "b": 2}):
        status = life.visit(objects(1, 2, *both), answers)
        assert status.routes is not None
        assert status.routes.generation == 2
        told.append(status.routes.acknowledged)
    assert told == [1, 1, 1, 1, 2]
    assert status.release == "r2"


def test_a_gateway_that_is_not_ready_is_not_waited_for() -> None:
    life = started()
    life.serve("r2")
    status = life.visit(objects(1, 1, engine("r1"), engine("r2")), {"a": 2, "b": 1})
    assert status.routes is not None
    assert status.routes.acknowledged == 2


def test_what_was_acknowledged_stays_while_no_gateway_is_ready() -> None:
    life = started()
    status = life.visit(objects(1, 0, engine("r1")))
    assert status.routes is not None
    assert status.routes.acknowledged == 1
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.status == "False"


def test_a_pool_stays_ready_through_a_change_of_release() -> None:
    life = started()
    life.serve("r2")
    steps = [
        (objects(1, 2, engine("r1")), {"a": 1, "b": 1}),
        (objects(1, 2, engine("r1"), engine("r2", 0)), {"a": 1, "b": 1}),
        (objects(1, 2, engine("r1"), engine("r2")), {"a": 2, "b": 1}),
        (objects(1, 2, engine("r1"), engine("r2")), {"a": 2, "b": 2}),
        (objects(1, 2, engine("r2")), {"a": 2, "b": 2}),
    ]
    for situation, answers in steps:
        ready = life.visit(situation, answers).condition("Ready")
        assert ready is not None
        assert ready.status == "True"
    assert life.written[-1].condition("Reconciling") is None


def test_an_engine_that_lost_its_labels_is_planned_again() -> None:
    life = started()
    bare = engine("r1")
    del bare["metadata"]["labels"]["innervate.dev/variant"]
    world = objects(1, 2, bare)
    life.visit(world, {"a": 1, "b": 1})
    pool = InferencePool.model_validate(life.manifest)
    plan = ROOM.plan(pool, ROOM.observe(pool, Cluster(world), {}), CONFIG, START)
    planned = {(child.kind.kind, child.manifest["metadata"]["name"]) for child in plan.apply}
    assert ("Deployment", bare["metadata"]["name"]) in planned
    assert not plan.delete
