"""Writes episodes as a data set of Minari: its own layout on disk, in its Parquet format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from innervate_rl.experience import episodes

VERSION: Final = "0.5.3"
"""Version of Minari whose layout this is."""
_MEGABYTE: Final = 1_000_000
_TEXT: Final = 1 << 20
"""Longest text that a space of texts admits here."""


def write(directory: Path, name: str, groups: Iterable[episodes.Episodes], about: Mapping[str, Any]) -> int:
    """Write a data set; returns the number of its episodes.

    Minari's episodes have one observation more than actions. Where what followed the last action was
    not recorded, the last observation stands there again, and the episode's metadata say so:
    ``"finalObservation": "repeated"``.

    Parameters
    ----------
    directory
        Becomes the data set: Minari finds it as ``$MINARI_DATASETS_PATH/<name>``.
    name
        The data set's id, as ``innervate/cartpole-v0``.
    groups
        The episodes; text episodes too.
    about
        Further metadata, JSON.

    Raises
    ------
    ValueError
        There is no episode: Minari has no empty data sets.
    """
    data = directory / "data"
    data.mkdir(parents=True)
    count = steps = 0
    spaces = _Spaces()
    for group in groups:
        for index in range(len(group.number)):
            rows = group.of(index)
            _episode(data / str(count), count, rows)
            spaces.see(rows)
            count += 1
            steps += rows.num_rows
    if not count:
        raise ValueError("there are no episodes to write")
    size = sum(file.stat().st_size for file in data.rglob("*") if file.is_file())
    document = {
        **about,
        "dataset_id": name,
        "total_episodes": count,
        "total_steps": steps,
        "data_format": "parquet",
        "jpeg_encoding": False,
        "observation_space": json.dumps(spaces.observation),
        "action_space": json.dumps(spaces.action),
        "minari_version": VERSION,
        "dataset_size": round(size / _MEGABYTE, 1),
    }
    (data / "metadata.json").write_text(json.dumps(document), encoding="utf-8")
    return count


def _episode(directory: Path, number: int, rows: Any) -> None:
    directory.mkdir()
    length = rows.num_rows
    observation = rows.column("observation").combine_chunks()
    final, repeated = _final(rows)
    infos = _infos(rows)
    table = pa.table(
        {
            "observations": pa.concat_arrays([_flat(observation), _flat(final)]),
            "actions": _padded(_flat(rows.column("action").combine_chunks())),
            "rewards": _padded(rows.column("reward").combine_chunks()),
            "terminations": _padded(rows.column("terminated").combine_chunks()),
            "truncations": _padded(rows.column("truncated").combine_chunks()),
            "infos": infos,
        }
    )
    pq.write_table(table, directory / "part-0.parquet")
    first = rows.slice(0, 1).to_pylist()[0]
    about: dict[str, Any] = {"id": number, "total_steps": length}
    about |= {each: first[each] for each in ("run", "seed", "split", "task", "policy", "chain")}
    about["episode"] = first["episode"]
    about["finalObservation"] = "repeated" if repeated else "recorded"
    # `seed` means the environment's seed to Minari; ours is the run's.
    about["runSeed"] = about.pop("seed")
    (directory / "metadata.json").write_text(json.dumps(about), encoding="utf-8")


def _final(rows: Any) -> tuple[Any, bool]:
    """What followed the last action, and whether that is only what came before it."""
    last = rows.num_rows - 1
    if "final_observation" in rows.column_names:
        found = rows.column("final_observation").combine_chunks().slice(last, 1)
        if not found.null_count:
            return found, False
    return rows.column("observation").combine_chunks().slice(last, 1), True


def _infos(rows: Any) -> Any:
    """What Minari has no place for, with one entry more than steps."""
    names = [name for name in rows.column_names if name in {"logprob", "valid"} or name.startswith("reward.")]
    columns = []
    for name in names:
        column = rows.column(name).combine_chunks()
        number = pa.types.is_floating(column.type)
        columns.append(_padded(column.fill_null(float("nan")) if number else column, missing=not number))
    return pa.StructArray.from_arrays(columns, names=names)


def _flat(values: Any) -> Any:
    """Lists of lists as one list each: Minari knows the shape from the space."""
    if not pa.types.is_fixed_size_list(values.type):
        return values
    size = 1
    while pa.types.is_fixed_size_list(values.type):
        size *= values.type.list_size
        values = values.flatten()
    return pa.FixedSizeListArray.from_arrays(values, size)


def _padded(values: Any, *, missing: bool = False) -> Any:
    """With one entry more, which readers of Minari's format leave out."""
    kind = values.type
    if pa.types.is_fixed_size_list(kind):
        zero = pa.FixedSizeListArray.from_arrays(
            pa.array(np.zeros(kind.list_size), kind.value_type), kind.list_size
        )
        return pa.concat_arrays([values, zero.cast(kind)])
    if pa.types.is_string(kind):
        return pa.concat_arrays([values, pa.nulls(1, kind)])
    blank = missing if pa.types.is_boolean(kind) else float("nan") if pa.types.is_floating(kind) else 0
    return pa.concat_arrays([values, pa.array([blank], kind)])


class _Spaces:
    """The narrowest spaces of Gymnasium that hold all that was seen and done, as Minari writes them."""

    def __init__(self) -> None:
        self._seen: dict[str, _Extent] = {}

    def see(self, rows: Any) -> None:
        """Widen them by an episode."""
        for name in ("observation", "action"):
            self._seen.setdefault(name, _Extent()).take(rows.column(name).combine_chunks())

    @property
    def observation(self) -> dict[str, Any]:
        """Observations' space."""
        return self._seen["observation"].space()

    @property
    def action(self) -> dict[str, Any]:
        """Actions' space."""
        return self._seen["action"].space()


class _Extent:
    def __init__(self) -> None:
        self._shape: list[int] = []
        self._type = ""
        self._highest = 0
        self._characters: set[str] = set()

    def take(self, values: Any) -> None:
        shape = []
        while pa.types.is_fixed_size_list(values.type):
            shape.append(values.type.list_size)
            values = values.flatten()
        self._shape, self._type = shape, str(values.type)
        if pa.types.is_string(values.type):
            self._characters.update("".join(values.to_pylist()))
        elif not shape and pa.types.is_integer(values.type):
            self._highest = max(self._highest, int(values.to_numpy().max()))

    def space(self) -> dict[str, Any]:
        if self._type == "string":
            characters = "".join(sorted(self._characters))
            return {"type": "Text", "max_length": _TEXT, "min_length": 0, "charset": characters}
        if not self._shape and "int" in self._type:
            return {"type": "Discrete", "dtype": "int64", "start": 0, "n": self._highest + 1}
        dtype = {"float": "float32", "double": "float64"}.get(self._type, self._type)
        low, high = (-np.inf, np.inf)
        if "float" not in dtype:
            low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return {
            "type": "Box",
            "dtype": dtype,
            "shape": self._shape,
            "low": np.full(self._shape, low).tolist(),
            "high": np.full(self._shape, high).tolist(),
        }
