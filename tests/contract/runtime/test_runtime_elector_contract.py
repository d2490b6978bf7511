"""One writer: election over a real Lease, with time that the test moves."""

from __future__ import annotations

import asyncio

import pytest
from innervate_kinds.api.kind import CONFIG_MAP, Reference
from innervate_operator.client import Client
from innervate_operator.clock import SystemClock
from innervate_operator.elector import LEASE, Elector
from innervate_operator.errors import ApiError, LeadershipLost

pytestmark = pytest.mark.contract


class SteppedClock(SystemClock):
    """Monotonic time that stands still unless the test moves it."""

    def __init__(self):
        self.time = 100.0

    def monotonic(self):
        return self.time


@pytest.fixture
def time():
    return SteppedClock()


@pytest.fixture
def make(stage, time):
    def made(identity, client=None):
        return Elector(
            client or stage.admin, namespace=stage.namespace, name="lock", identity=identity, clock=time
        )

    return made


async def lease(stage):
    return await stage.admin.get(Reference(LEASE, stage.namespace, "lock"))


async def test_of_two_electors_one_leads_and_the_other_may_not_write(stage, make):
    first, second = make("a"), make("b")
    assert await first._try()
    assert not await second._try()
    assert first.leads
    assert first.remaining() == 10
    with pytest.raises(LeadershipLost):
        second.remaining()
    assert (await lease(stage))["spec"]["holderIdentity"] == "a"


async def test_electors_that_start_at_once_agree_on_one(make):
    electors = [make(str(number)) for number in range(6)]
    won = await asyncio.gather(*(elector._try() for elector in electors))
    assert sum(won) == 1
    assert sum(elector.leads for elector in electors) == 1


async def test_a_renewal_moves_the_deadline_and_without_one_writes_end_before_another_may_begin(make, time):
    first, second = make("a"), make("b")
    await first._try()
    await second._try()
    time.time += 6
    assert await first._try()
    time.time += 6.9
    assert first.leads
    time.time += 0.2
    assert not first.leads
    with pytest.raises(LeadershipLost):
        first.remaining()
    # The challenger saw the lease at 0 and the renewal now: it waits ten seconds from here.
    assert not await second._try()
    time.time += 9.9
    assert not await second._try()
    time.time += 0.2
    assert await second._try()


async def test_a_write_never_starts_without_the_lease(stage, make, time):
    elector = make("a")
    gated = Client(stage.transport, elector)
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": stage.namespace},
    }
    reference = Reference.of(CONFIG_MAP, manifest)
    with pytest.raises(LeadershipLost):
        await gated.apply(reference, manifest, manager="innervate")
    assert await stage.admin.get(reference) is None
    await elector._try()
    await gated.apply(reference, manifest, manager="innervate")
    time.time += 8
    with pytest.raises(LeadershipLost):
        await gated.delete(reference, uid="x")
    assert await stage.admin.get(reference) is not None


async def test_a_released_lease_is_taken_at_once(stage, make):
    first, second = make("a"), make("b")
    await first._try()
    assert not await second._try()
    await first.release()
    with pytest.raises(LeadershipLost):
        first.remaining()
    assert await second._try()
    spec = (await lease(stage))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)


async def test_a_taken_lease_ends_the_holder(make, time, monkeypatch):
    first, second = make("a"), make("b")
    monkeypatch.setattr(time, "sleep", lambda _: asyncio.sleep(0.01))
    running = asyncio.create_task(first.run())
    await asyncio.wait_for(first.leading.wait(), 10)
    # As after a pause of the whole process: the challenger saw ten seconds of silence.
    monkeypatch.setattr(first, "_client", Unreachable())
    await second._try()
    time.time += 11
    assert await second._try()
    with pytest.raises(LeadershipLost):
        await asyncio.wait_for(running, 10)


async def test_an_unreachable_server_ends_the_holder_when_its_time_is_over(make, time, monkeypatch):
    first = make("a")
    monkeypatch.setattr(time, "sleep", lambda _: asyncio.sleep(0.01))
    running = asyncio.create_task(first.run())
    await asyncio.wait_for(first.leading.wait(), 10)
    monkeypatch.setattr(first, "_client", Unreachable())
    time.time += 6
    await asyncio.sleep(0.1)
    assert not running.done()
    time.time += 2
    with pytest.raises(LeadershipLost, match="could not be renewed"):
        await asyncio.wait_for(running, 10)


class Unreachable:
    """A network that is gone: not even a refusal comes back."""

    async def get(self, _reference):
        raise ApiError(0, "Unavailable", "no answer")

    async def replace(self, _reference, _lease):
        raise ApiError(0, "Unavailable", "no answer")
