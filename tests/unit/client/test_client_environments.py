"""What a server says of its environment is told as Gymnasium writes it."""

from __future__ import annotations

import grpc
import pytest
from environment_process import environment_server
from innervate.environments import _description, space_text
from innervate_api.env.v1 import env_pb2 as pb
from innervate_api.env.v1 import env_pb2_grpc


def test_a_real_server_is_described() -> None:
    with (
        environment_server("CartPole-v1", capacity=3) as server,
        grpc.insecure_channel(server.endpoint) as way,
    ):
        stub = env_pb2_grpc.EnvironmentServiceStub(way)  # type: ignore[no-untyped-call]  # generated without types
        metadata = (("authorization", "Bearer local"),)
        reply = stub.Describe(pb.DescribeRequest(), wait_for_ready=True, timeout=60, metadata=metadata)
        said = _description(reply)
    assert (said.id, said.observation_space, said.action_space) == (
        "CartPole-v1",
        "Box((4,), float32)",
        "Discrete(2)",
    )
    assert (said.capacity, said.free, said.max_episode_steps) == (3, 3, 500)
    assert said.chain["environment"].startswith("sha256:")


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (pb.Space(discrete=pb.Discrete(n=3, start=-1)), "Discrete(3, start=-1)"),
        (pb.Space(multi_discrete=pb.MultiDiscrete(n=[2, 3])), "MultiDiscrete([2, 3])"),
        (pb.Space(multi_binary=pb.MultiBinary(n=4)), "MultiBinary(4)"),
        (pb.Space(text=pb.Text(max_length=9)), "Text(9)"),
        (pb.Space(), "unknown"),
    ],
)
def test_spaces_are_written_as_gymnasium_does(space: pb.Space, text: str) -> None:
    assert space_text(space) == text


def test_rewards_say_what_is_learned_from() -> None:
    roles = (pb.REWARD_ROLE_TRAINED, pb.REWARD_ROLE_CANARY, pb.REWARD_ROLE_HELD_OUT)
    reply = pb.DescribeResponse(rewards=[pb.Reward(name="r", weight="1.0", role=role) for role in roles])
    assert [each.role for each in _description(reply).rewards] == ["Trained", "Canary", "HeldOut"]
