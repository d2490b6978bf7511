"""The queue: once in, once at a time, and back as told."""

from __future__ import annotations

import asyncio

import pytest
from innervate_operator.queue import Backoff, Closed, Queue


async def test_a_key_waits_at_most_once(clock):
    queue = Queue(clock)
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert queue.depth == 0


async def test_a_key_runs_at_most_once_at_a_time_and_again_when_woken_meanwhile(clock):
    queue = Queue(clock)
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    other = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not other.done()
    queue.done("a")
    assert await other == "a"
    queue.done("a")
    assert queue.depth == 0


async def test_many_workers_share_many_keys_and_none_is_lost(clock):
    queue = Queue(clock)
    seen, running = [], set()

    async def work():
        while True:
            try:
                key = await queue.get()
            except Closed:
                return
            assert key not in running
            running.add(key)
            await asyncio.sleep(0)
            running.discard(key)
            seen.append(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(7)]
    for number in range(200):
        queue.add(number % 50)
        if number % 3 == 0:
            await asyncio.sleep(0)
    for _ in range(2000):
        await asyncio.sleep(0)
    assert not queue.depth
    assert not queue.running
    queue.close()
    await asyncio.gather(*workers)
    assert set(seen) == set(range(50))


async def test_a_worker_that_is_cancelled_while_it_is_woken_passes_the_key_on(clock):
    queue = Queue(clock)
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 5) == "a"


async def test_a_delayed_key_comes_at_its_time_and_the_earlier_of_two_counts(clock):
    queue = Queue(clock)
    queue.add_after("a", 30)
    queue.add_after("a", 10)
    queue.add_after("a", 20)
    await clock.advance(9.9)
    assert queue.depth == 0
    await clock.advance(0.2)
    assert await queue.get() == "a"
    queue.done("a")
    await clock.advance(60)
    assert queue.depth == 0


async def test_a_run_makes_what_was_planned_for_later_void(clock):
    queue = Queue(clock)
    queue.add_after("a", 10)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    await clock.advance(20)
    assert queue.depth == 0


async def test_resyncs_are_jittered_by_a_tenth(clock):
    spread = iter([0.0, 0.999])
    queue = Queue(clock, jitter=lambda: next(spread))
    queue.add_resync("early", 100)
    queue.add_resync("late", 100)
    await clock.advance(90.1)
    assert queue.depth == 1
    await clock.advance(19)
    assert queue.depth == 1
    await clock.advance(1)
    assert queue.depth == 2


async def test_failures_back_off_exponentially_to_a_limit_and_a_success_forgets_them(clock):
    queue = Queue(clock, backoff=Backoff(clock, base=1, limit=10))
    assert [queue.add_failed("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    queue.succeeded("a")
    assert queue.add_failed("a") == 1
    assert queue.add_failed("b", after=42) == 42


async def test_a_storm_of_failures_is_limited_in_rate(clock):
    backoff = Backoff(clock, base=0.1, limit=10, rate=10, burst=5)
    delays = [backoff.next(number) for number in range(25)]
    assert delays[:5] == [0.1] * 5
    assert delays[-1] == pytest.approx(2.0)
    await clock.advance(10)
    assert backoff.next("later") == 0.1


async def test_the_age_of_the_oldest_key_counts_waiting_and_running(clock):
    queue = Queue(clock)
    assert queue.oldest_age() == 0
    queue.add("a")
    await clock.advance(5)
    queue.add("b")
    assert queue.oldest_age() == 5
    assert await queue.get() == "a"
    await clock.advance(5)
    assert queue.oldest_age() == 10
    queue.done("a")
    assert queue.oldest_age() == 5


async def test_a_closed_queue_lets_its_workers_go(clock):
    queue = Queue(clock)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.close()
    queue.add("a")
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        await queue.get()
