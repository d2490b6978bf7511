"""Leases: one call at a time, of one caller, until they are not used for too long."""

import pytest
from innervate_environments.leases import Leases
from innervate_environments.spaces import Text
from innervate_environments.tasks import Task, TaskSet
from innervate_environments.taskseats import TaskHall
from innervate_service.auth import Identity
from innervate_service.errors import Aborted, AlreadyExists, Exhausted, InvalidArgument, NotFound

_ME, _OTHER = Identity("lab", "me"), Identity("lab", "other")
_TASK = Task(id="a", input="?", expected=("!",))


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def leases(clock: _Clock) -> Leases:
    async def nobody(_):
        raise AssertionError("nothing is judged here")

    hall = TaskHall(TaskSet("sha256:0", {"training": (_TASK,), "evaluation": ()}), nobody, [])
    assert hall.shape.observation_space == Text(1024 * 1024)
    return Leases(capacity=4, seconds=10, take=hall.take, clock=clock)


def _open(leases: Leases, slots: int, owner: Identity = _ME, **changes):
    asked = {"request_id": "", "autoreset": False, "streamed": False} | changes
    return leases.open(owner, slots, **asked)


def test_no_more_slots_than_there_are(leases):
    _open(leases, 3)
    with pytest.raises(Exhausted, match=r"slots = 2: 1 of 4 slots are free"):
        _open(leases, 2)
    for impossible in (0, -1, 5):
        with pytest.raises(InvalidArgument, match="must be 1 to 4"):
            _open(leases, impossible)


def test_a_request_is_answered_once(leases):
    first = _open(leases, 2, request_id="r")
    assert _open(leases, 2, request_id="r") is first
    assert leases.free == 2
    with pytest.raises(AlreadyExists):
        _open(leases, 1, request_id="r")
    assert _open(leases, 2, _OTHER, request_id="r") is not first, "ids are each caller's own"
    leases.close(_ME, first.id)
    assert _open(leases, 2, request_id="r") is not first


def test_an_unused_lease_ends_and_a_used_one_does_not(leases, clock):
    lease = _open(leases, 4)
    clock.now += 9
    with leases.use(_ME, lease.id):
        clock.now += 100
        leases.sweep()
    clock.now += 10
    leases.sweep()
    assert leases.free == 0
    clock.now += 1
    assert _open(leases, 4).id != lease.id, "its slots are free at once"
    with pytest.raises(NotFound):
        leases.use(_ME, lease.id).__enter__()


def test_a_stream_keeps_its_lease_and_takes_it_along(leases, clock):
    lease = _open(leases, 4, streamed=True)
    clock.now += 1000
    leases.sweep()
    assert leases.free == 0
    leases.end(lease, "stream_ended")
    leases.end(lease, "stream_ended")
    assert leases.free == 4


def test_a_lease_is_its_owners_and_serves_one_call_at_a_time(leases):
    lease = _open(leases, 1)
    leases.close(_OTHER, lease.id)
    with pytest.raises(NotFound):
        leases.use(_OTHER, lease.id).__enter__()
    with leases.use(_ME, lease.id), pytest.raises(Aborted):
        leases.use(_ME, lease.id).__enter__()
    with leases.use(_ME, lease.id) as again:
        assert again is lease
