"""Numbers, texts and spaces survive the way to the other side, and nonsense does not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from innervate_api.env.v1 import env_pb2
from innervate_environments.messages import Malformed, array_message, array_of, space_message, space_of
from innervate_environments.spaces import (
    NUMBERS,
    Box,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Text,
    from_json,
    to_json,
)

_ARRAYS = st.sampled_from(sorted(NUMBERS)).flatmap(
    lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)


@given(_ARRAYS, st.booleans())
def test_arrays_arrive_as_they_were(array, swapped):
    sent = array.astype(array.dtype.newbyteorder(">")) if swapped else array
    message = env_pb2.Array.FromString(array_message(sent).SerializeToString())
    received = array_of(message)
    assert received.dtype == array.dtype
    assert np.array_equal(received, array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"dtype": "object", "shape": [1], "data": b"12345678"}, "dtype 'object' is not known"),
        ({"dtype": "int64", "shape": [2], "data": b"12345678"}, "has 8 bytes; int64 of shape"),
        ({"dtype": "int8", "shape": [-1, -8], "data": b"12345678"}, "none negative"),
        ({"dtype": "int8", "shape": [1] * 33, "data": b"1"}, "at most 32 axes"),
        ({"dtype": "float64", "shape": [2**62, 4], "data": b""}, "must have"),
    ],
)
def test_what_does_not_fit_is_refused(message, told):
    with pytest.raises(Malformed, match=told):
        array_of(env_pb2.Array(**message))


_LOW = np.array([[-np.inf, 0.5]], np.float32)


@pytest.mark.parametrize(
    "space",
    [
        Box("float32", (1, 2), _LOW, -_LOW),
        Box("uint8", (), np.uint8(0), np.uint8(255)),
        Discrete(4, -2),
        MultiDiscrete((2, 3)),
        MultiBinary(5),
        Text(80),
    ],
)
def test_spaces_arrive_as_they_were(space):
    for received in (space_of(space_message(space)), from_json(to_json(space))):
        if isinstance(space, Box):
            assert (received.dtype, received.shape) == (space.dtype, space.shape)
            assert np.array_equal(received.low, space.low)
            assert np.array_equal(received.high, space.high)
        else:
            assert received == space


def test_a_space_of_no_kind_is_refused():
    with pytest.raises(Malformed, match="newer client"):
        space_of(env_pb2.Space())
