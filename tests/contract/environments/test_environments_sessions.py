"""What a caller of a real server sees: spaces, episodes, replay, limits."""

import time

import grpc
import numpy as np
import pytest
from environment_process import SECONDS, environment_server
from innervate_api.env.v1 import env_pb2, env_pb2_grpc
from innervate_environments.client import EnvironmentLost, EnvironmentRefused, Reason, VectorEnvironment
from innervate_environments.local import LocalServer
from innervate_environments.spaces import Box, Discrete, Text
from practice_environments import FINISH, RAISE, WALK

_TOKEN = (("authorization", "Bearer local"),)


def _acted(*actions: int) -> np.ndarray:
    return np.array(actions, np.int64)


def test_an_environment_tells_what_it_is(fragile: LocalServer) -> None:
    with VectorEnvironment.open(fragile.endpoint, slots=3) as environment:
        known = environment.describe
    assert known.id == "practice_environments:Fragile-v0"
    space = known.observation_space
    assert isinstance(space, Box), "a Dict is flattened"
    assert (space.dtype, space.shape) == ("float64", (4,))
    assert known.action_space == Discrete(5, 0)
    assert known.max_episode_steps == 50
    assert known.capacity == 8
    assert known.chain.environment.startswith("sha256:")


def test_episodes_follow_each_other_within_a_step(fragile: LocalServer) -> None:
    with VectorEnvironment.open(fragile.endpoint, slots=3) as environment:
        begun = environment.reset(seeds=[1, 2, 3], options=[{}, {"start": 4}, {}])
        assert begun.observations.tolist() == [[0, 1, 0, 0], [4, 0, 1, 0], [0, 1, 0, 0]]
        assert len({begun.infos[at]["process"] for at in range(3)}) == 2, "two share a process"
        steps = environment.step(_acted(WALK, FINISH, WALK))
    assert not steps.errors
    assert steps.rewards.tolist() == [1, 1, 1]
    assert steps.terminated.tolist() == [False, True, False]
    assert steps.observations[1].tolist() == [0, 1, 0, 0], "the next episode's first"
    assert steps.finals.keys() == {1}
    assert steps.finals[1].tolist() == [5, 0, 0, 1], "the ended one's last"
    assert steps.observations[0].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("autoreset", [True, False])
def test_a_reward_that_is_not_finite_voids_its_episode(fragile: LocalServer, *, autoreset: bool) -> None:
    worth = ["nan", "2", "-inf", "inf"]
    with VectorEnvironment.open(fragile.endpoint, slots=4, autoreset=autoreset) as environment:
        environment.reset(options=[{"worth": each} for each in worth])
        steps = environment.step(_acted(WALK, WALK, FINISH, WALK))
        assert {at: (failure.reason, failure.message) for at, failure in steps.errors.items()} == {
            at: (Reason.FAILED, f"ValueError: the environment gave a reward of {worth[at]}: must be finite")
            for at in (0, 2, 3)
        }
        assert steps.rewards[1] == 2
        assert np.isnan(steps.rewards[[0, 2, 3]]).all()
        assert not steps.terminated.any(), "a void episode has no end"
        assert not environment.reset(slots=[0, 2, 3]).errors
        assert environment.step(_acted(WALK, WALK, WALK, WALK)).rewards.tolist() == [1, 2, 1, 1]


def test_without_autoreset_an_ended_slot_waits_for_its_reset(fragile: LocalServer) -> None:
    with VectorEnvironment.open(fragile.endpoint, slots=2, autoreset=False) as environment:
        before = environment.step(_acted(WALK, WALK))
        assert {failure.reason for failure in before.errors.values()} == {Reason.NO_EPISODE}
        assert np.isnan(before.rewards).all()
        environment.reset()
        ended = environment.step(_acted(WALK, FINISH))
        assert ended.terminated.tolist() == [False, True]
        assert ended.observations[1].tolist() == [1, 0, 1, 0], "its last one"
        after = environment.step(_acted(WALK, WALK))
        assert {at: failure.reason for at, failure in after.errors.items()} == {1: Reason.NO_EPISODE}
        environment.reset(slots=[1])
        assert not environment.step(_acted(WALK, WALK)).errors


def test_some_slots_are_stepped_in_the_order_named(fragile: LocalServer) -> None:
    with VectorEnvironment.open(fragile.endpoint, slots=4) as environment:
        environment.reset(options=[{"start": 10 * slot} for slot in range(4)])
        steps = environment.step(_acted(WALK, WALK, WALK), slots=[3, 0, 1])
        assert steps.observations[:, 0].tolist() == [31, 1, 11]


def test_an_error_voids_its_episode_and_no_other(fragile: LocalServer) -> None:
    with VectorEnvironment.open(fragile.endpoint, slots=4) as environment:
        environment.reset()
        steps = environment.step(_acted(WALK, RAISE, WALK, 7))
        assert {at: failure.reason for at, failure in steps.errors.items()} == {
            1: Reason.FAILED,
            3: Reason.INVALID_ACTION,
        }
        assert steps.errors[1].message == "RuntimeError: raised, as asked"
        assert "7 is not in Discrete from 0 to 4" in steps.errors[3].message
        assert np.isnan(steps.rewards[[1, 3]]).all()
        again = environment.step(_acted(WALK, WALK, WALK, WALK))
        assert {at: failure.reason for at, failure in again.errors.items()} == {
            1: Reason.NO_EPISODE,
            3: Reason.NO_EPISODE,
        }
        refused = environment.reset(options=[{"refuse": True}, {}], slots=[1, 3])
        assert refused.errors.keys() == {0}
        assert not environment.reset(slots=[1]).errors
        assert not environment.step(_acted(WALK, WALK, WALK, WALK)).errors


def test_the_same_seeds_and_actions_replay_the_same_episodes() -> None:
    actions = np.random.default_rng(5).integers(0, 2, (300, 6))
    with environment_server("CartPole-v1", capacity=6, instancesPerProcess=4) as server:
        seen = []
        for slots in (6, 6):
            with VectorEnvironment.open(server.endpoint, slots=slots) as environment:
                parts = [environment.reset(seeds=range(6)).observations]
                for row in actions:
                    steps = environment.step(row)
                    parts += [steps.observations, steps.rewards, steps.terminated, steps.truncated]
            seen.append([np.asarray(part).tobytes() for part in parts])
        with VectorEnvironment.open(server.endpoint, slots=1) as environment:
            alone = [environment.reset(seeds=[4]).observations]
            alone += [environment.step(row[4:5]).observations for row in actions]
    assert seen[0] == seen[1]
    among = [np.frombuffer(part, "<f4").reshape(6, 4)[4] for part in [seen[0][0], *seen[0][1::4]]]
    assert np.array_equal(np.concatenate(alone), np.array(among)), "neighbours change nothing"


def test_texts_are_observations_and_actions_too() -> None:
    with (
        environment_server("practice_environments:Echo-v0", capacity=2, instancesPerProcess=1) as server,
        VectorEnvironment.open(server.endpoint, slots=2) as environment,
    ):
        assert environment.describe.observation_space == Text(100)
        assert environment.reset().observations == ["speak", "speak"]
        steps = environment.step(["hello", "stop"])
        assert steps.observations == ["HELLO", "speak"]
        assert steps.finals == {1: "STOP"}
        assert steps.rewards.tolist() == [5, 4]
        assert environment.step(["x" * 101, ""]).errors[0].reason is Reason.INVALID_ACTION


def test_what_is_refused_is_named(fragile: LocalServer) -> None:
    def refused(**call: object) -> str:
        with VectorEnvironment.open(fragile.endpoint, slots=2) as environment:
            with pytest.raises(EnvironmentRefused) as caught:
                environment.reset(**call) if "seeds" in call or "options" in call else environment.step(
                    **call
                )
            return str(caught.value)

    assert "seeds = '1 seeds': must be none or 2" in refused(seeds=[1])
    assert "seeds[1] = -1: must not be negative" in refused(seeds=[0, -1])
    assert "slots[0] = 2: must be 0 to 1" in refused(seeds=[1], slots=[2])
    assert "slots = [1, 1]: must name no slot twice" in refused(seeds=[1, 2], slots=[1, 1])
    assert "must be a JSON object" in refused(options=[[], []])
    assert "must be int64 of shape (2,)" in refused(actions=np.zeros((2, 1), np.int64))
    assert "must be int64, or convert to it without loss" in refused(actions=np.zeros(2, np.float32))
    with pytest.raises(EnvironmentRefused, match="slots = 9: must be 1 to 8"):
        VectorEnvironment.open(fragile.endpoint, slots=9)


def test_slots_are_as_many_as_declared_and_come_back(fragile: LocalServer) -> None:
    with VectorEnvironment.open(fragile.endpoint, slots=6):
        with pytest.raises(EnvironmentLost, match=r"RESOURCE_EXHAUSTED.*2 of 8 slots are free"):
            VectorEnvironment.open(fragile.endpoint, slots=3)
        with VectorEnvironment.open(fragile.endpoint, slots=2) as environment:
            assert environment.describe.free == 2
    with VectorEnvironment.open(fragile.endpoint, slots=8) as environment:
        assert environment.reset().observations.shape == (8, 4)


def test_a_lease_without_a_stream_is_found_again_by_its_request(fragile: LocalServer) -> None:
    with grpc.insecure_channel(fragile.endpoint) as channel:
        stub = env_pb2_grpc.EnvironmentServiceStub(channel)
        asked = env_pb2.OpenRequest(slots=2, request_id="mine")
        lease = stub.Open(asked, metadata=_TOKEN).lease
        assert stub.Open(asked, metadata=_TOKEN).lease == lease
        with pytest.raises(grpc.RpcError) as other:
            stub.Open(env_pb2.OpenRequest(slots=1, request_id="mine"), metadata=_TOKEN)
        assert other.value.code() is grpc.StatusCode.ALREADY_EXISTS
        stub.Reset(env_pb2.ResetRequest(lease=lease), metadata=_TOKEN)
        for _ in range(2):
            stub.Close(env_pb2.CloseRequest(lease=lease), metadata=_TOKEN)
        again = stub.Open(asked, metadata=_TOKEN).lease
        assert again != lease
        stub.Close(env_pb2.CloseRequest(lease=again), metadata=_TOKEN)


def test_a_lease_that_nobody_uses_ends() -> None:
    with (
        environment_server("CartPole-v1", capacity=2, instancesPerProcess=1, leaseSeconds=0.5) as server,
        grpc.insecure_channel(server.endpoint) as channel,
    ):
        stub = env_pb2_grpc.EnvironmentServiceStub(channel)
        lease = stub.Open(env_pb2.OpenRequest(slots=2), metadata=_TOKEN).lease
        until = time.monotonic() + SECONDS
        while stub.Describe(env_pb2.DescribeRequest(), metadata=_TOKEN).free != 2:
            assert time.monotonic() < until, "the lease never ended"
            time.sleep(0.1)
        with pytest.raises(grpc.RpcError) as late:
            stub.Reset(env_pb2.ResetRequest(lease=lease), metadata=_TOKEN)
        assert late.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_environment_that_is_not_there_ends_the_server_with_its_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with (
        pytest.raises(RuntimeError, match="ended with status 2"),
        environment_server("NoSuchThing-v0"),
    ):
        pass
    assert "gymnasium.id = 'NoSuchThing-v0' cannot be made" in capfd.readouterr().err


def test_answers_that_no_message_can_hold_are_refused() -> None:
    settings = {"capacity": 200, "instancesPerProcess": 200}
    with environment_server("practice_environments:Echo-v0", **settings) as server:
        with VectorEnvironment.open(server.endpoint, slots=200) as environment:
            large = {"much": "x" * 60_000}
            with pytest.raises(EnvironmentRefused, match=r"slots = '200 slots': must be fewer at once"):
                environment.reset(options=large)
        with VectorEnvironment.open(server.endpoint, slots=100) as environment:
            assert len(environment.reset(options=large).infos) == 100
