"""A start is few writes, idleness is none: the status stays equal while only details move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from innervate_kinds.api.conditions import merge
from innervate_kinds.api.reader import ProbeResult
from innervate_kinds.memory_store import room
from innervate_kinds.memory_store.model import MemoryStore, MemoryStoreStatus
from kinds_cluster import CONFIG, Cluster

START = datetime(2026, 1, 1, tzinfo=UTC)
UID = "u"
COUNTS = {"records": 3, "spaces": 1, "size_bytes": 900_000, "limit_bytes": 268_435_456}


class Life:
    """One store, its status written as the runtime does: only where it differs."""

    def __init__(self) -> None:
        self.manifest: dict[str, Any] = {
            "apiVersion": "innervate.dev/v1alpha1",
            "kind": "MemoryStore",
            "metadata": {"name": "support", "namespace": "shop", "uid": UID, "generation": 1},
        }
        self.written: list[MemoryStoreStatus] = []

    def visit(
        self, *, seconds: float, objects: list[dict[str, Any]], answer: ProbeResult | None = None
    ) -> MemoryStoreStatus:
        store = MemoryStore.model_validate(self.manifest)
        observed = room.observe(store, Cluster(objects), {"stats": answer} if answer else {})
        now = START + timedelta(seconds=seconds)
        status = room.status(store, observed, room.plan(store, observed, CONFIG, now), (), now)
        previous = store.status.conditions if store.status else ()
        status = status.model_copy(
            update={"conditions": merge(previous, status.conditions, generation=1, now=now)}
        )
        if status != store.status:
            self.written.append(status)
            self.manifest["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        return status


def labels(component: str) -> dict[str, str]:
    return {"innervate.dev/owner-uid": UID, "app.kubernetes.io/component": component}


def workload(kind: str, name: str, component: str, *, wanted: int, available: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "generation": 1, "labels": labels(component)},
        "spec": {"replicas": wanted},
        "status": {
            "observedGeneration": 1,
            "replicas": wanted,
            "updatedReplicas": wanted,
            "availableReplicas": available,
        },
    }


def pod(component: str, name: str, *, second: int, ready: bool, waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": labels(component),
            "creationTimestamp": (START + timedelta(seconds=second)).isoformat(),
        },
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": component, "image": "i", "ready": ready, "started": not waiting, "state": state}
            ],
        },
    }


def objects(redis: int, service: int) -> list[dict[str, Any]]:
    return [
        {
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "support-memorystore-data", "namespace": "shop", "labels": labels("redis")},
        },
        workload("StatefulSet", "support-memorystore-redis", "redis", wanted=1, available=redis),
        workload("Deployment", "support-memorystore", "service", wanted=2, available=service),
        pod("redis", "r", second=1, ready=redis == 1, waiting="" if redis else "PodInitializing"),
        pod("service", "a", second=1, ready=service > 0),
        pod("service", "b", second=1, ready=service > 1),
    ]


def answer(second: float, **counts: int) -> ProbeResult:
    return ProbeResult(time=START + timedelta(seconds=second), value=COUNTS | counts)


def test_a_start_is_two_writes() -> None:
    life = Life()
    life.visit(seconds=0, objects=[])
    life.visit(seconds=1, objects=objects(0, 0))
    failed = ProbeResult(time=START, code="UNAVAILABLE", message="no route")
    life.visit(seconds=3, objects=objects(1, 0), answer=failed)
    life.visit(seconds=4, objects=objects(1, 0), answer=answer(4))
    life.visit(seconds=5, objects=objects(1, 1), answer=answer(5))
    status = life.visit(seconds=6, objects=objects(1, 2), answer=answer(6))
    ready = status.condition("Ready")
    assert ready is not None
    assert ready.status == "True"
    assert status.records == 3
    assert len(life.written) == 2


def test_idleness_writes_nothing() -> None:
    life = Life()
    life.visit(seconds=0, objects=objects(1, 2), answer=answer(0))
    written = len(life.written)
    for minute in range(1, 30):
        moment = answer(60 * minute, size_bytes=900_000 + 9_000 * (minute % 3))
        life.visit(seconds=60 * minute, objects=objects(1, 2), answer=moment)
    assert len(life.written) == written


def test_a_restart_of_the_operator_writes_nothing() -> None:
    life = Life()
    life.visit(seconds=0, objects=objects(1, 2), answer=answer(0))
    written = len(life.written)
    life.visit(seconds=100, objects=objects(1, 2))
    assert len(life.written) == written


def test_busy_counts_are_written_once_a_minute() -> None:
    life = Life()
    life.visit(seconds=0, objects=objects(1, 2), answer=answer(0))
    written = len(life.written)
    for second in range(1, 181):
        life.visit(seconds=second, objects=objects(1, 2), answer=answer(second, records=3 + second))
    assert len(life.written) - written == 3


def test_an_alternating_image_failure_is_told_once() -> None:
    """The kubelet changes its words with every try; the status does not."""
    life = Life()
    for second, waiting in enumerate(["ErrImagePull", "ImagePullBackOff"] * 5, start=10):
        state = [*objects(1, 0)[:3], pod("service", "a", second=1, ready=False, waiting=waiting)]
        life.visit(seconds=second, objects=state)
    assert len(life.written) == 1
