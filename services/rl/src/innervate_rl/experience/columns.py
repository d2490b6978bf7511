"""Columns of experience: one row a step, or a turn for text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # it ships no types

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from innervate_rl.experience.rows import Origin, Split, Steps, Turns

REWARD: Final = "reward."
"""What the columns of named rewards begin with."""
_NAME: Final = pa.dictionary(pa.int32(), pa.string())
"""A text that repeats."""


class Place(NamedTuple):
    """Which step of which episode each row is, and in which iteration by which policy it was made."""

    episode: np.ndarray[Any, Any]
    step: np.ndarray[Any, Any]
    iteration: np.ndarray[Any, Any]
    policy: pa.Array


def of_steps(steps: Steps, chosen: np.ndarray[Any, Any], place: Place, origin: Origin, split: Split) -> Any:
    """Table of the chosen steps.

    Parameters
    ----------
    steps
        T steps of N environments.
    chosen
        Indices of what is to be a row, into the (N, T) steps laid out flat: an environment's steps
        follow each other.
    place
        One entry a row.
    origin, split
        The same in every row.
    """
    terminated = np.asarray(steps.terminated, dtype=bool)
    shape = terminated.shape

    def flat(values: Any) -> np.ndarray[Any, Any]:
        array = np.asarray(values)
        if array.shape[:2] != shape:
            raise ValueError(f"a field is {array.shape} where {shape} steps are handed over")
        rows: np.ndarray[Any, Any] = array.swapaxes(0, 1).reshape(-1, *array.shape[2:])[chosen]
        return rows

    valid = np.ones(len(chosen), dtype=bool) if steps.valid is None else flat(steps.valid).astype(bool)
    ended = flat(terminated) | flat(steps.truncated).astype(bool)
    observation = _values(flat(steps.observation))
    final = pa.nulls(len(chosen), observation.type)
    if steps.final_observation is not None:
        final = _values(flat(steps.final_observation))
        final = pc.if_else(pa.array(ended), final, pa.scalar(None, final.type))
    errors = np.full(shape, None, dtype=object)
    for at, text in steps.error.items():
        errors[at] = text
    tasks = None if steps.task is None else np.asarray(steps.task, dtype=object)[chosen // shape[0]]
    logprob = None if steps.logprob is None else pa.array(flat(steps.logprob), pa.float32())
    return _table(
        {
            "task": pa.nulls(len(chosen), _NAME) if tasks is None else _text(tasks),
            "observation": observation,
            "action": _values(_wide(flat(steps.action))),
            "final_observation": final,
            "logprob": pa.nulls(len(chosen), pa.float32()) if logprob is None else logprob,
            "reward": pa.array(flat(steps.reward), pa.float64()),
            **{f"{REWARD}{name}": _reward(flat(values)) for name, values in steps.rewards.items()},
            "terminated": pa.array(flat(terminated)),
            "truncated": pa.array(flat(steps.truncated).astype(bool)),
            "valid": pa.array(valid),
            "error": pa.array(flat(errors) if steps.error else [None] * len(chosen), pa.string()),
        },
        place,
        origin,
        split,
    )


def of_turns(turns: Turns, place: Place, origin: Origin, split: Split) -> Any:
    """Table of the turns of text episodes; ``logprob`` is the sum over a turn's tokens."""
    count = len(turns.episode)
    logprobs = [np.asarray(each, dtype=np.float32) for each in turns.token_logprobs]
    valid = [True] * count if turns.valid is None else list(turns.valid)
    return _table(
        {
            "task": _text(turns.task),
            "observation": pa.array(turns.observation, pa.string()),
            "action": pa.array(turns.action, pa.string()),
            "logprob": pa.array([each.sum(dtype=np.float64) for each in logprobs], pa.float32()),
            "reward": pa.array(turns.reward, pa.float64()),
            **{f"{REWARD}{name}": _reward(values) for name, values in turns.rewards.items()},
            "terminated": pa.array(turns.terminated, pa.bool_()),
            "truncated": pa.array(turns.truncated, pa.bool_()),
            "valid": pa.array(valid, pa.bool_()),
            "error": pa.array([None] * count if turns.error is None else turns.error, pa.string()),
            "token_ids": pa.array(
                [np.asarray(each, dtype=np.int32) for each in turns.tokens], pa.list_(pa.int32())
            ),
            "token_logprobs": pa.array(logprobs, pa.list_(pa.float32())),
        },
        place,
        origin,
        split,
    )


def with_rewards(table: Any, names: Sequence[str]) -> Any:
    """The table with exactly these named rewards as its last columns, empty where it has none.

    Raises
    ------
    ValueError
        It has one of another name.
    """
    there = [name for name in table.column_names if name.startswith(REWARD)]
    if unknown := sorted({name.removeprefix(REWARD) for name in there} - set(names)):
        raise ValueError(f"rewards that were not announced: {', '.join(unknown)}")
    named = {name: table.column(name) for name in there}
    table = table.drop_columns(there)
    for name in names:
        column = named.get(f"{REWARD}{name}", pa.nulls(table.num_rows, pa.float64()))
        table = table.append_column(f"{REWARD}{name}", column)
    return table


def policies(policy: str | Sequence[str], rows_of: np.ndarray[Any, Any] | None, count: int) -> Any:
    """Column of the behaviour policies' digests: one for all, or `rows_of` says which for each row."""
    if isinstance(policy, str) or rows_of is None:
        return _text_of(policy if isinstance(policy, str) else policy[0], count)
    names, indices = np.unique(np.asarray(policy, dtype=object), return_inverse=True)
    return pa.DictionaryArray.from_arrays(
        pa.array(indices[rows_of], pa.int32()), pa.array(list(names), pa.string())
    )


def _table(columns: Mapping[str, Any], place: Place, origin: Origin, split: Split) -> Any:
    count = len(place.episode)
    return pa.table(
        {
            "run": _text_of(origin.run, count),
            "seed": pa.array(np.full(count, origin.seed), pa.int64()),
            "attempt": pa.array(np.full(count, origin.attempt), pa.int32()),
            "iteration": pa.array(place.iteration, pa.int64()),
            "split": _text_of(str(split), count),
            "episode": pa.array(place.episode, pa.int64()),
            "step": pa.array(place.step, pa.int32()),
            **columns,
            "policy": place.policy,
            "chain": _text_of(origin.chain_digest(), count),
        }
    )


def _reward(values: Any) -> Any:
    return pa.array(values, pa.float64(), from_pandas=True)  # NaN is none at all


def _wide(actions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Actions that are counts, of one type: training and evaluation need not hand over the same."""
    return actions.astype(np.int64) if np.issubdtype(actions.dtype, np.integer) else actions


def _values(array: np.ndarray[Any, Any]) -> Any:
    """A number, or lists of fixed lengths, for each row."""
    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    for size in reversed(array.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def _text(values: Any) -> Any:
    return pa.array(list(values), pa.string()).dictionary_encode()


def _text_of(text: str, count: int) -> Any:
    return pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), pa.array([text], pa.string()))
