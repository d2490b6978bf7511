"""Actions are checked before they are sent, and a wrong one is never made right."""

import numpy as np
import pytest
from innervate_environments.actions import checked
from innervate_environments.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Text
from innervate_service.errors import InvalidArgument

_LOW = np.array([-1, -np.inf], np.float32)
_BOX = Box("float32", (2,), _LOW, -_LOW)


@pytest.mark.parametrize(
    ("space", "actions", "wrong"),
    [
        (Discrete(3, 5), [5, 7, 8, 4], {2, 3}),
        (Discrete(2), [0, 1, 2**40, -1], {2, 3}),
        (MultiDiscrete((2, 3)), [[1, 2], [2, 0], [0, -1]], {1, 2}),
        (MultiBinary(2), [[0, 1], [1, 2]], {1}),
        (_BOX, [[0.5, 9], [1.5, 0], [np.nan, 0], [-1, -1e30]], {1, 2}),
    ],
)
def test_what_is_outside_is_told_by_position(space, actions, wrong):
    actions = np.array(actions)
    converted, told = checked(space, actions, len(actions))
    assert set(told) == wrong
    right = [at for at in range(len(actions)) if at not in wrong]
    assert np.allclose(np.asarray(converted)[right], actions[right])


@pytest.mark.parametrize(
    ("space", "actions"),
    [
        (Discrete(2), np.zeros((2, 1), np.int64)),
        (Discrete(2), np.zeros(3, np.int64)),
        (Discrete(2), np.zeros(2, np.float64)),
        (Discrete(2), ["0", "1"]),
        (_BOX, np.zeros((2, 3))),
        (Text(3), np.zeros(2)),
        (Text(3), ["one"]),
    ],
)
def test_another_type_or_shape_is_refused_altogether(space, actions):
    with pytest.raises(InvalidArgument, match=r"actions = .*: must be"):
        checked(space, actions, 2)


def test_bounds_are_compared_as_the_space_holds_them():
    bound = np.float32(0.1)
    space = Box("float32", (1,), np.array([-bound]), np.array([bound]))
    _, told = checked(space, np.array([[0.1], [0.1000001]], np.float64), 2)
    assert set(told) == {1}, "0.1 rounds to the bound itself"
