"""Parts of experience: Parquet files that appear whole and never change."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types
from innervate_releases import digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from innervate_rl.experience.rows import Cursor

_KEY: Final = b"innervate"
"""Key of a file's metadata, whose value is JSON."""
_NAME: Final = re.compile(r"part-(\d{8})\.parquet")
_COMPRESSION: Final = "zstd"
_BATCH_ROWS: Final = 1 << 16


class PartError(Exception):
    """A file of experience is missing, damaged or not what it should be."""


class Part(NamedTuple):
    """A file of experience."""

    number: int
    path: Path

    def about(self) -> dict[str, Any]:
        """What its metadata say of it: chains, the previous part's digest, the first part that counts.

        Raises
        ------
        PartError
            The file is damaged, or no experience.
        """
        try:
            found = pq.read_metadata(self.path).metadata or {}
            about: dict[str, Any] = json.loads(found[_KEY])
        except (OSError, ValueError, KeyError) as error:
            raise PartError(f"{self.path} is no file of experience: {error}") from error
        return about

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """Its rows, or some columns of them, in tables of bounded length.

        Raises
        ------
        PartError
            The file is damaged.
        """
        chosen = None if columns is None else list(columns)
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=chosen):
                    yield pa.Table.from_batches([batch])
        except (OSError, ValueError) as error:
            raise PartError(f"{self.path} cannot be read: {error}") from error

    def digest(self) -> str:
        """SHA-256 of the file."""
        return digests.of_file(self.path)[0]


def path(directory: Path, number: int) -> Path:
    """Where a part is."""
    return directory / f"part-{number:08}.parquet"


def present(directory: Path) -> list[Part]:
    """All parts in a directory, by number, those that no longer count included."""
    found = [(_NAME.fullmatch(each.name), each) for each in directory.glob("part-*.parquet")]
    return sorted(Part(int(name[1]), each) for name, each in found if name)


def current(directory: Path) -> list[Part]:
    """The parts that count: the newest says which is the first.

    Raises
    ------
    PartError
        One of them is missing or damaged.
    """
    parts = present(directory)
    return span(directory, parts[-1].about()["first"], parts[-1].number + 1) if parts else []


def span(directory: Path, first: int, after: int) -> list[Part]:
    """Parts ``first`` … ``after - 1``.

    Raises
    ------
    PartError
        One is missing.
    """
    found = [Part(number, path(directory, number)) for number in range(first, after)]
    for part in found:
        if not part.path.is_file():
            raise PartError(f"a part of the experience is missing: {part.path}")
    return found


class Partial:
    """A part while it is written, under a name that nobody reads.

    Parameters
    ----------
    directory
        Where it will be.
    number
        Its number.
    attempt
        Who writes.
    """

    def __init__(self, directory: Path, number: int, attempt: int) -> None:
        self.rows = 0
        """Rows so far."""
        self._target = path(directory, number)
        self._path = directory / f".{self._target.name}.{attempt}"
        self._writer: Any = None

    def write(self, table: Any) -> None:
        """Append rows; they leave memory."""
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression=_COMPRESSION)
        self._writer.write_table(table)
        self.rows += table.num_rows

    def finish(self, about: Mapping[str, Any]) -> Part:
        """Put the part in its place, with what is to be said of it.

        Raises
        ------
        PartError
            There is one already: somebody else writes here.
        """
        self._writer.add_key_value_metadata({_KEY: json.dumps(about, sort_keys=True)})
        self._writer.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        if self._target.exists():
            raise PartError(f"{self._target} is there already: another attempt writes this experience")
        self._path.replace(self._target)
        _sync(self._target.parent)
        return Part(int(self._target.stem.removeprefix("part-")), self._target)

    def discard(self) -> None:
        """Forget what was written."""
        if self._writer is not None:
            self._writer.close()
            self._path.unlink(missing_ok=True)


def clean(directory: Path, cursor: Cursor) -> None:
    """Remove what a checkpoint does not count: parts outside its cursor, and partial ones."""
    for part in present(directory):
        if not cursor.first <= part.number < cursor.next:
            part.path.unlink(missing_ok=True)
    for partial in directory.glob(".part-*"):
        partial.unlink(missing_ok=True)


def clean_before(directory: Path, first: int) -> None:
    """Remove the parts that a newer one took the place of."""
    for part in present(directory):
        if part.number < first:
            part.path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
