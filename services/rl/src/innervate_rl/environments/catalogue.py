"""The environments there are, by Gymnasium's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from innervate_rl.environments.acrobot import ACROBOT
from innervate_rl.environments.cartpole import CARTPOLE

if TYPE_CHECKING:
    from innervate_rl.environments.dynamics import Dynamics

_ALL = {each.id: each for each in (CARTPOLE, ACROBOT)}


def find(name: str) -> Dynamics:
    """The environment of a name that settings allow."""
    return _ALL[name]
