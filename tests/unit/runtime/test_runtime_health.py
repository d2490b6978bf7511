"""Health notices a stuck queue, and does not mind a standby's."""

from __future__ import annotations

import pytest
from innervate_kinds.api.kind import CONFIG_MAP
from innervate_kinds.api.room import Scope
from innervate_operator.cache import Caches, Store
from innervate_operator.health import Health
from innervate_operator.queue import Queue


@pytest.fixture
def store(clock):
    return Store(CONFIG_MAP, clock.monotonic)


@pytest.fixture
def queue(clock):
    return Queue(clock)


@pytest.fixture
def health(clock, queue, store):
    return Health(queue, Caches({}, {(CONFIG_MAP, Scope.OWNED): store}), clock, stuck_seconds=60)


async def test_a_standby_with_waiting_keys_is_alive(clock, queue, health):
    queue.add("a")
    await clock.advance(1000)
    assert health.problem() is None


async def test_a_key_that_waits_while_nothing_is_finished_means_stuck(clock, queue, health):
    queue.add("a")
    await clock.advance(500)
    health.work_started()
    assert health.problem() is None
    await clock.advance(61)
    assert "nothing was finished for 61 s" in health.problem()
    assert health.routes()["/livez"]().status == 503


async def test_a_long_queue_that_moves_is_no_problem(clock, queue, health):
    queue.add("a")
    health.work_started()
    for _ in range(10):
        await clock.advance(50)
        health.finished()
    assert health.problem() is None


async def test_an_idle_operator_is_alive(clock, health):
    health.work_started()
    await clock.advance(10_000)
    assert health.problem() is None


def test_a_lost_lease_means_the_end(health):
    health.failure = "another replica took the lease"
    assert health.routes()["/livez"]() == (
        503,
        b"another replica took the lease\n",
        "text/plain; charset=utf-8",
    )


def test_ready_means_that_every_cache_saw_its_first_list(health, store):
    assert health.unready() == "starting"
    health.starting = None
    assert health.unready() == "waiting for the first list of ConfigMap"
    assert health.routes()["/readyz"]().status == 503
    store.synced = True
    assert health.routes()["/readyz"]().status == 200
