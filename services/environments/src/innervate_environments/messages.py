"""The interface's messages from and to numbers, texts and spaces."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from innervate_api.env.v1 import env_pb2

from innervate_environments.spaces import (
    NUMBERS,
    Box,
    Discrete,
    MultiBinary,
    MultiDiscrete,
    Space,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_READ: Final = {name: np.dtype(name).newbyteorder("<") for name in NUMBERS}
_MAX_AXES: Final = 32
"""As many as numpy's arrays may have."""


class Malformed(ValueError):
    """A message that does not hold what it says; the text says what and how to mend it."""


@lru_cache(maxsize=64)
def _written(dtype: np.dtype[Any]) -> tuple[str, np.dtype[Any]]:
    return dtype.name, dtype.newbyteorder("<")


def array_message(array: NDArray[Any]) -> env_pb2.Array:
    """Write an array, row-major and little-endian."""
    name, dtype = _written(array.dtype)
    return env_pb2.Array(dtype=name, shape=array.shape, data=array.astype(dtype, copy=False).tobytes())


def array_of(message: env_pb2.Array) -> NDArray[Any]:
    """Read an array without copying it; it cannot be written to.

    Raises
    ------
    Malformed
        Type, shape and data do not fit each other.
    """
    dtype = _READ.get(message.dtype)
    if dtype is None:
        raise Malformed(f"dtype {message.dtype!r} is not known; must be one of {', '.join(sorted(NUMBERS))}")
    shape = tuple(message.shape)
    if len(shape) > _MAX_AXES or any(length < 0 for length in shape):
        raise Malformed(f"shape {shape[:_MAX_AXES]} must have at most {_MAX_AXES} axes, none negative")
    size = math.prod(shape) * dtype.itemsize
    if len(message.data) != size:
        raise Malformed(
            f"data has {len(message.data)} bytes; {message.dtype} of shape {shape} must have {size}"
        )
    return np.frombuffer(message.data, dtype).reshape(shape)


def values_message(values: NDArray[Any] | Sequence[str]) -> env_pb2.Values:
    """Write one value for each slot."""
    if isinstance(values, np.ndarray):
        return env_pb2.Values(array=array_message(values))
    return env_pb2.Values(texts=env_pb2.Texts(texts=values))


def values_of(message: env_pb2.Values) -> NDArray[Any] | list[str]:
    """Read one value for each slot.

    Raises
    ------
    Malformed
        It holds neither numbers nor texts, or numbers that do not fit their shape.
    """
    match message.WhichOneof("kind"):
        case "array":
            return array_of(message.array)
        case "texts":
            return list(message.texts.texts)
        case _:
            raise Malformed("must hold an array or texts")


def space_message(space: Space) -> env_pb2.Space:
    """Write a space."""
    match space:
        case Box(dtype, shape, low, high):
            bounds = {"low": array_message(low), "high": array_message(high)}
            return env_pb2.Space(box=env_pb2.Box(dtype=dtype, shape=shape, **bounds))
        case Discrete(n, start):
            return env_pb2.Space(discrete=env_pb2.Discrete(n=n, start=start))
        case MultiDiscrete(n):
            return env_pb2.Space(multi_discrete=env_pb2.MultiDiscrete(n=n))
        case MultiBinary(n):
            return env_pb2.Space(multi_binary=env_pb2.MultiBinary(n=n))
        case Text(max_length):
            return env_pb2.Space(text=env_pb2.Text(max_length=max_length))


def space_of(message: env_pb2.Space) -> Space:
    """Read a space.

    Raises
    ------
    Malformed
        It is of a kind that is not known here.
    """
    match message.WhichOneof("kind"):
        case "box":
            box = message.box
            return Box(box.dtype, tuple(box.shape), array_of(box.low), array_of(box.high))
        case "discrete":
            return Discrete(message.discrete.n, message.discrete.start)
        case "multi_discrete":
            return MultiDiscrete(tuple(message.multi_discrete.n))
        case "multi_binary":
            return MultiBinary(message.multi_binary.n)
        case "text":
            return Text(message.text.max_length)
        case _:
            raise Malformed("the space is of no kind that is known here; use a newer client")
