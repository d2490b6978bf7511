"""Episodes made of rows, and what is said of each in one line."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # it ships no types

Array = np.ndarray[Any, Any]


class Episodes(NamedTuple):
    """Rows in order of their episodes, and one entry of each array an episode."""

    rows: Any
    """The table: episodes one after the other, each in the order of its steps."""
    number: Array
    start: Array
    """Index of the first row."""
    length: Array
    returns: Array
    """Sum of the rewards."""
    valid: Array
    ended: Array
    """Whether the last step is there: terminated, truncated or void."""

    def of(self, index: int) -> Any:
        """Rows of one episode."""
        return self.rows.slice(self.start[index], self.length[index])

    def only(self, chosen: Array) -> Any:
        """Rows of the chosen episodes, as a table that holds nothing else in memory."""
        return self.rows.filter(pa.array(np.repeat(chosen, self.length)))


def arrange(table: Any) -> Episodes:
    """Put the rows of each episode together."""
    number = column(table, "episode")
    step = column(table, "step")
    after, later = np.diff(number), np.diff(step)
    if np.any((after < 0) | ((after == 0) & (later < 0))):
        order = np.lexsort((step, number))
        table, number = table.take(pa.array(order)), number[order]
    start = np.flatnonzero(np.diff(number, prepend=-1)) if len(number) else np.zeros(0, np.int64)
    length = np.diff(start, append=len(number))
    valid = _over(np.logical_and, column(table, "valid"), start)
    last = start + length - 1
    ended = (column(table, "terminated") | column(table, "truncated"))[last] | ~valid
    returns = _over(np.add, column(table, "reward"), start)
    return Episodes(table, number[start], start, length, returns, valid, ended)


def column(table: Any, name: str) -> Array:
    """Values of a column of numbers or truths; where there is none, NaN."""
    found: Array = table.column(name).to_numpy()
    return found


def vectors(table: Any, name: str) -> Array | None:
    """Values of a column of numbers or lists of numbers of one length, (rows, numbers); None for text."""
    values = table.column(name).combine_chunks()
    while pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        return None
    found: Array = values.to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
    return found


def features(episodes: Episodes) -> Array:
    """What tells episodes apart, (episodes, features).

    The return, the length, the mean log-probability of the actions, and mean and spread of each
    number of the observations (of texts, the length of what was said).
    """
    rows, start, length = episodes.rows, episodes.start, episodes.length
    if not len(start):
        return np.zeros((0, 0))
    logprob = np.nan_to_num(column(rows, "logprob").astype(np.float64))
    # A void episode has no reward, which is written as NaN.
    said = [np.nan_to_num(episodes.returns), length, _over(np.add, logprob, start) / length]
    seen = vectors(rows, "observation")
    if seen is None:
        words = pc.utf8_length(rows.column("action")).to_numpy().astype(np.float64)
        said.append(_over(np.add, words, start) / length)
    else:
        seen = np.nan_to_num(seen.astype(np.float64), posinf=0, neginf=0)
        mean = _over(np.add, seen, start) / length[:, None]
        square = _over(np.add, seen**2, start) / length[:, None]
        spread = np.sqrt(np.maximum(square - mean**2, 0))
        said += [*mean.T, *spread.T]
    return np.stack([np.asarray(each, np.float64) for each in said], axis=1)


def rarity(features: Array) -> Array:
    """How far each episode is from the middle of all: root mean square of its standardised features."""
    if not len(features):
        return np.zeros(0)
    scale = features.std(axis=0)
    apart = (features - features.mean(axis=0)) / np.where(scale > 1e-9, scale, np.inf)
    distance: Array = np.sqrt((apart**2).mean(axis=1))
    return distance


def _over(operation: np.ufunc, values: Array, start: Array) -> Array:
    """Reduce the rows of each episode."""
    found: Array = operation.reduceat(values, start) if len(start) else values[:0]
    return found
