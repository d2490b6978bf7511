"""How much better an answer is than the others to the same prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_DEVIATION: Final = 1e-4
"""Added to a group's deviation, as in the authors' implementation: equal rewards give no advantage."""


def advantages(rewards: NDArray[np.float64], *, normalize: bool) -> NDArray[np.float32]:
    """Compare each reward with its group's mean.

    Parameters
    ----------
    rewards
        ``[group, member]``; NaN for a member that has none.
    normalize
        Divide by the group's deviation (GRPO, arXiv:2402.03300, equation 4); without, groups of which
        nearly all members are right or wrong count for less (Dr. GRPO, arXiv:2503.20783).

    Returns
    -------
    numpy.ndarray
        ``[group, member]``; 0 for members without a reward, and for all of a group with fewer than two.
    """
    known = ~np.isnan(rewards)
    count = known.sum(axis=1, keepdims=True)
    values = np.where(known, rewards, 0.0)
    mean = values.sum(axis=1, keepdims=True) / np.maximum(count, 1)
    centred = np.where(known & (count > 1), values - mean, 0.0)
    if normalize:
        # Of a sample, as torch computes it.
        deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / np.maximum(count - 1, 1))
        centred = centred / (deviation + _LEAST_DEVIATION)
    return centred.astype(np.float32)
