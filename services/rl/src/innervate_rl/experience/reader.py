"""Reads a seed's experience: part by part, episode by episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.compute as pc  # type: ignore[import-untyped]  # it ships no types

from innervate_rl.experience import episodes, parts
from innervate_rl.experience.keeping import living, only, together
from innervate_rl.experience.rows import Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from innervate_rl.experience.rows import Split


class ExperienceReader:
    """What is in a directory of experience.

    Parameters
    ----------
    directory
        Of one seed.

    Raises
    ------
    PartError
        A part is missing or damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._parts = parts.current(directory)
        best = self._parts[-1].about()["best"] if self._parts else None
        self._live = None if best is None else living(best)

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[Any]:
        """The rows as they were written, without those of episodes that did not stay.

        Parameters
        ----------
        columns
            Names, ``episode`` among them; left out, all.
        """
        for part in self._parts:
            for table in part.tables(columns):
                yield table if self._live is None else only(table, self._live)

    def episodes(self, split: Split | None = None) -> Iterator[episodes.Episodes]:
        """Whole episodes, in groups, in the order in which they ended.

        Those that the run did not bring to their end come last. Memory holds a piece of
        a part, and the rows of the episodes that go on in the next one.
        """
        open_rows: Any = None
        for table in self.tables():
            chosen = _of(table, split)
            found = episodes.arrange(chosen if open_rows is None else together([open_rows, chosen]))
            open_rows = found.only(~found.ended)
            if np.any(found.ended):
                yield episodes.arrange(found.only(found.ended))
        if open_rows is not None and open_rows.num_rows:
            yield episodes.arrange(open_rows)

    def verify(self) -> None:
        """Check that no part was changed, left out or put in, and that rows name the chain of their part.

        The newest part is taken at its word: nothing follows it that would name its digest.

        Raises
        ------
        PartError
            Something is not as it was written.
        """
        previous: str | None = None
        for index, part in enumerate(self._parts):
            about = part.about()
            if index and about["previous"] != previous:
                raise parts.PartError(f"{part.path} follows another file than the one before it")
            named = {
                digest
                for table in part.tables(["chain"])
                for digest in table.column("chain").unique().to_pylist()
            }
            known = {Origin("", 0, 0, chain).chain_digest() for chain in about["chains"]}
            if not named <= known:
                raise parts.PartError(f"rows of {part.path} name a chain that it does not hold")
            previous = part.digest()

    def chains(self) -> list[dict[str, Any]]:
        """All digest chains that rows name, the oldest first."""
        found: dict[str, dict[str, Any]] = {}
        for part in self._parts:
            for chain in part.about()["chains"]:
                found.setdefault(Origin("", 0, 0, chain).chain_digest(), chain)
        return list(found.values())

    def head(self) -> str | None:
        """Digest of the newest part, which stands for all: each part names the one before it."""
        return self._parts[-1].digest() if self._parts else None


def _of(table: Any, split: Split | None) -> Any:
    if split is None:
        return table
    return table.filter(pc.equal(table.column("split").cast(pa.string()), str(split)))
