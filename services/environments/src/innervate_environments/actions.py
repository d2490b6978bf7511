"""Whether actions are what an action space asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from innervate_service.errors import InvalidArgument

from innervate_environments.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, Text, element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHOWN = 100


def checked(
    space: Space, actions: NDArray[Any] | Sequence[str], count: int
) -> tuple[NDArray[Any] | Sequence[str], dict[int, str]]:
    """Actions in the space's own type, and what is wrong with those that are not in it, by position.

    Parameters
    ----------
    space
        The action space.
    actions
        First axis is the slots.
    count
        How many slots.

    Raises
    ------
    InvalidArgument
        They are of another type or shape altogether.
    """
    if isinstance(space, Text):
        if isinstance(actions, np.ndarray) or len(actions) != count:
            raise InvalidArgument("actions", _told(actions), f"must be {count} texts")
        return actions, {
            at: f"the action has {len(text)} characters, more than {space.max_length}"
            for at, text in enumerate(actions)
            if len(text) > space.max_length
        }
    dtype, shape = element(space)
    wanted = (count, *shape)
    if not isinstance(actions, np.ndarray) or actions.shape != wanted:
        raise InvalidArgument("actions", _told(actions), f"must be {dtype.name} of shape {wanted}")
    if actions.dtype.kind not in _kinds(dtype):
        raise InvalidArgument(
            "actions", _told(actions), f"must be {dtype.name}, or convert to it without loss"
        )
    inside = _inside(space, actions)
    if inside.all():
        return actions.astype(dtype, copy=False), {}
    # Compared before it is converted: a conversion could turn a wrong value into a right one.
    converted = np.where(inside.reshape((count,) + (1,) * len(shape)), actions, _any_of(space)).astype(dtype)
    return converted, {
        int(at): f"action {str(actions[at].tolist())[:_SHOWN]} is not in {_shown(space)}"
        for at in np.flatnonzero(~inside)
    }


def _kinds(dtype: np.dtype[Any]) -> str:
    return "fiu" if dtype.kind == "f" else "iub"


def _inside(space: Box | Discrete | MultiDiscrete | MultiBinary, actions: NDArray[Any]) -> NDArray[np.bool_]:
    within: Any
    match space:
        case Box(_, _, low, high):
            # Bounds are rounded to the space's type; so is what is compared with them.
            typed = actions.astype(low.dtype) if low.dtype.kind == "f" else actions
            within = (typed >= low) & (typed <= high)
        case Discrete(n, start):
            within = (actions >= start) & (actions < start + n)
        case MultiDiscrete(n):
            within = (actions >= 0) & (actions < np.asarray(n))
        case MultiBinary():
            within = (actions == 0) | (actions == 1)
    inside: NDArray[np.bool_] = within if within.ndim == 1 else within.reshape(len(actions), -1).all(axis=1)
    return inside


def _any_of(space: Box | Discrete | MultiDiscrete | MultiBinary) -> Any:
    match space:
        case Box(_, _, low, _):
            return np.where(np.isfinite(low), low, 0)
        case Discrete(_, start):
            return start
        case _:
            return 0


def _told(actions: NDArray[Any] | Sequence[str]) -> str:
    if isinstance(actions, np.ndarray):
        return f"{actions.dtype.name} of shape {actions.shape}"
    return f"{len(actions)} texts"


def _shown(space: Box | Discrete | MultiDiscrete | MultiBinary) -> str:
    match space:
        case Box(dtype, shape, low, high):
            bounds = f"{low.min()} to {high.max()}" if low.size else "nothing"
            return f"Box of {dtype}, shape {shape}, within {bounds}"
        case Discrete(n, start):
            return f"Discrete from {start} to {start + n - 1}"
        case _:
            return repr(space)[:_SHOWN]
