"""Environments and their server killed, stuck and gone."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from environment_process import SECONDS, children, descendants, environment_server, gone
from innervate_environments.client import EnvironmentLost, Reason, VectorEnvironment
from practice_environments import HANG, LEAVE, WALK

FRAGILE = "practice_environments:Fragile-v0"


def _acted(*actions: int) -> np.ndarray:
    return np.array(actions, np.int64)


def _wait(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def test_a_killed_process_voids_its_slots_and_is_replaced() -> None:
    with (
        environment_server(FRAGILE, capacity=4, instancesPerProcess=2) as server,
        VectorEnvironment.open(server.endpoint, slots=4) as environment,
    ):
        begun = environment.reset()
        victim = begun.infos[0]["process"]
        shared = [at for at in range(4) if begun.infos[at]["process"] == victim]
        assert len(shared) == 2
        os.kill(victim, signal.SIGKILL)
        steps = environment.step(_acted(WALK, WALK, WALK, WALK))
        assert sorted(steps.errors) == shared
        assert {failure.reason for failure in steps.errors.values()} == {Reason.CRASHED}
        assert "signal 9" in steps.errors[0].message
        assert np.isnan(steps.rewards[shared]).all()
        others = [at for at in range(4) if at not in shared]
        assert steps.rewards[others].tolist() == [1, 1]
        again = environment.reset(slots=shared)
        assert not again.errors
        assert {info["process"] for info in again.infos.values()}.isdisjoint({victim})
        steps = environment.step(_acted(WALK, WALK, WALK, WALK))
        assert not steps.errors
        assert steps.observations[:, 0].tolist() == [1, 1, 2, 2], "the others went on"


def test_an_environment_that_ends_its_process_is_alone_with_it() -> None:
    with (
        environment_server(FRAGILE, capacity=3, instancesPerProcess=1) as server,
        VectorEnvironment.open(server.endpoint, slots=3) as environment,
    ):
        environment.reset()
        steps = environment.step(_acted(WALK, LEAVE, WALK))
        assert {at: failure.reason for at, failure in steps.errors.items()} == {1: Reason.CRASHED}
        assert "status 3" in steps.errors[1].message
        # What was lost is told once, and again with a reset all is well.
        assert environment.step(_acted(WALK, WALK, WALK)).errors[1].reason is Reason.NO_EPISODE
        assert not environment.reset(slots=[1]).errors
        assert not environment.step(_acted(WALK, WALK, WALK)).errors


def test_a_step_that_never_ends_is_ended() -> None:
    with (
        environment_server(
            FRAGILE, options={"child": "true"}, capacity=4, instancesPerProcess=2, stepSeconds=10
        ) as server,
        VectorEnvironment.open(server.endpoint, slots=4) as environment,
    ):
        begun = environment.reset()
        steps = environment.step(_acted(WALK, HANG, WALK, WALK))
        assert {at: failure.reason for at, failure in steps.errors.items()} == {
            0: Reason.CRASHED,
            1: Reason.HUNG,
        }, "the neighbour is told that it was not at fault"
        assert steps.rewards[[2, 3]].tolist() == [1, 1]
        lost = [begun.infos[0]["process"], begun.infos[0]["child"], begun.infos[1]["child"]]
        _wait(lambda: all(gone(pid) for pid in lost), "what the process started outlived it")
        assert not environment.reset(slots=[0, 1]).errors


def test_nothing_outlives_a_killed_server() -> None:
    with environment_server(FRAGILE, capacity=4, instancesPerProcess=1, stepSeconds=600) as server:
        with VectorEnvironment.open(server.endpoint, slots=4) as environment:
            environment.reset()
            started = descendants(server.pid)
            assert len(started) == 5, "a nursery and four processes"
            server.kill()
            with pytest.raises(EnvironmentLost):
                environment.step(_acted(WALK, WALK, WALK, WALK))
            with pytest.raises(EnvironmentLost, match="the lease is lost"):
                environment.step(_acted(WALK, WALK, WALK, WALK))
        _wait(lambda: all(gone(pid) for pid in started), "a process outlived its server")


def test_a_server_that_is_told_to_end_leaves_nothing() -> None:
    with environment_server(FRAGILE, capacity=2, instancesPerProcess=1) as server:
        with VectorEnvironment.open(server.endpoint, slots=2) as environment:
            environment.reset()
            started = descendants(server.pid)
            server.stop()
        assert all(gone(pid) for pid in started)


def test_a_lost_nursery_voids_all_and_is_replaced() -> None:
    with (
        environment_server(FRAGILE, capacity=2, instancesPerProcess=1) as server,
        VectorEnvironment.open(server.endpoint, slots=2) as environment,
    ):
        begun = environment.reset()
        (nursery,) = children(server.pid)
        os.kill(nursery, signal.SIGKILL)
        _wait(lambda: all(gone(info["process"]) for info in begun.infos.values()), "a process outlived it")
        _wait(lambda: children(server.pid) not in ([], [nursery]), "no other was started")
        steps = environment.step(_acted(WALK, WALK))
        assert {failure.reason for failure in steps.errors.values()} == {Reason.CRASHED}
        assert len(steps.errors) == 2
        assert not environment.reset().errors


def test_a_server_that_is_silent_is_given_up() -> None:
    with environment_server(FRAGILE, capacity=1, instancesPerProcess=1, stepSeconds=600) as server:
        with VectorEnvironment.open(server.endpoint, slots=1, timeout=60) as environment:
            environment.reset()
            environment.timeout = 1
            with pytest.raises(EnvironmentLost, match="no answer within 1 s"):
                environment.step(_acted(HANG))
        # The stream took the lease along, and the lease its process.
        with VectorEnvironment.open(server.endpoint, slots=1) as environment:
            assert not environment.reset().errors


def test_long_episodes_cost_the_server_no_memory() -> None:
    def resident(pid: int) -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with (
        environment_server(
            "CartPole-v1", capacity=1, instancesPerProcess=1, maxEpisodeSteps=1000000
        ) as server,
        VectorEnvironment.open(server.endpoint, slots=1) as environment,
    ):
        environment.reset(seeds=[1])
        action = _acted(0)
        for _ in range(600):
            environment.step(action)
        before = resident(server.pid)
        for _ in range(10 * 600):
            environment.step(action)
        # It hardly grows at all; a kilobyte and a half of each step would show.
        assert resident(server.pid) - before < 8 * 1024 * 1024
