"""What observations and actions are: Gymnasium's spaces, as far as they cross the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NUMBERS: Final = frozenset(
    {
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
    }
)
"""Types of numbers that cross the network, by numpy's names."""

MAX_TEXT: Final = 1024 * 1024
"""Most characters of a task and of an answer to it."""


@dataclass(frozen=True, eq=False)
class Box:
    """Arrays of numbers between bounds."""

    dtype: str
    """numpy's name."""
    shape: tuple[int, ...]
    """Of one slot."""
    low: NDArray[Any]
    """Least value of each number, inclusive."""
    high: NDArray[Any]
    """Greatest value of each number, inclusive."""


@dataclass(frozen=True)
class Discrete:
    """Whole numbers from `start`, `n` of them."""

    n: int
    """How many."""
    start: int = 0
    """The least."""


@dataclass(frozen=True)
class MultiDiscrete:
    """Vectors of whole numbers, each from 0."""

    n: tuple[int, ...]
    """How many values each position has."""


@dataclass(frozen=True)
class MultiBinary:
    """Vectors of zeros and ones."""

    n: int
    """Length."""


@dataclass(frozen=True)
class Text:
    """Texts."""

    max_length: int
    """Most characters."""


Space = Box | Discrete | MultiDiscrete | MultiBinary | Text


@lru_cache(maxsize=64)
def element(space: Box | Discrete | MultiDiscrete | MultiBinary) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The type and the shape of one slot's numbers, little-endian."""
    match space:
        case Box(dtype, shape):
            return np.dtype(dtype).newbyteorder("<"), shape
        case Discrete():
            return np.dtype("<i8"), ()
        case MultiDiscrete(n):
            return np.dtype("<i8"), (len(n),)
        case MultiBinary(n):
            return np.dtype("i1"), (n,)


def to_json(space: Space) -> dict[str, Any]:
    """Write a space as a JSON object that `from_json` reads."""
    match space:
        case Box(dtype, shape, low, high):
            return {
                "kind": "Box",
                "dtype": dtype,
                "shape": list(shape),
                "low": _hexadecimal(low, dtype),
                "high": _hexadecimal(high, dtype),
            }
        case Discrete(n, start):
            return {"kind": "Discrete", "n": n, "start": start}
        case MultiDiscrete(n):
            return {"kind": "MultiDiscrete", "n": list(n)}
        case MultiBinary(n):
            return {"kind": "MultiBinary", "n": n}
        case Text(max_length):
            return {"kind": "Text", "maxLength": max_length}


def from_json(document: Mapping[str, Any]) -> Space:
    """Read what `to_json` wrote."""
    match document["kind"]:
        case "Box":
            dtype, shape = str(document["dtype"]), tuple(document["shape"])
            low, high = (
                np.frombuffer(bytes.fromhex(document[bound]), np.dtype(dtype).newbyteorder("<")).reshape(
                    shape
                )
                for bound in ("low", "high")
            )
            return Box(dtype, shape, low, high)
        case "Discrete":
            return Discrete(int(document["n"]), int(document["start"]))
        case "MultiDiscrete":
            return MultiDiscrete(tuple(document["n"]))
        case "MultiBinary":
            return MultiBinary(int(document["n"]))
        case "Text":
            return Text(int(document["maxLength"]))
        case kind:
            raise ValueError(f"{kind!r} is no kind of space")


def _hexadecimal(bounds: NDArray[Any], dtype: str) -> str:
    return np.ascontiguousarray(bounds, np.dtype(dtype).newbyteorder("<")).tobytes().hex()
