"""Experience of a run as files for others: Parquet, or a data set of Minari, curated where asked for."""

from __future__ import annotations

import re
import tarfile
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

from innervate_rl.experience import curation, minari
from innervate_rl.experience.parts import PartError
from innervate_rl.experience.reader import ExperienceReader
from innervate_rl.experience.writer import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from innervate_rl.experience.curation import Choice, Rules

ACCOUNT: Final = "curation.json"
"""Beside the data: from what, by which rules, and what came of it."""
_COMPRESSION: Final = "zstd"
_TRIES: Final = 3


class Format(StrEnum):
    """What files."""

    PARQUET = "Parquet"
    MINARI = "Minari"


class ExportError(Exception):
    """There is nothing to export, or the request makes no sense."""


class Request(NamedTuple):
    """What is to be exported."""

    name: str
    """Of the data set; to Minari an id, as ``team/run-v0``."""
    format: Format
    rules: Rules
    seeds: Sequence[int] = ()
    """Empty: all."""


def write(run: Path, into: Path, request: Request) -> dict[str, Any]:
    """Export the experience in a run's directory; returns the account, which stands beside the data too.

    Raises
    ------
    ExportError
        No episode is left to export, or a seed has no experience.
    PartError
        Experience is damaged.
    """
    readers = dict(_readers(run, request.seeds))
    for reader in readers.values():
        reader.verify()
    sources = list(readers.values())
    choice = curation.choose(sources, request.rules)
    if not choice.counts["kept"]:
        raise ExportError(f"no episode is left to export: {_said(choice)}")
    account = {"seeds": list(readers), **curation.account(sources, request.rules, choice)}
    target = into / request.name
    if request.format is Format.MINARI:
        minari.write(target, request.name, curation.chosen(sources, choice), {"innervate": account})
    else:
        target.mkdir(parents=True)
        for number, (seed, reader) in enumerate(readers.items()):
            own = choice._replace(kept=(choice.kept[number],))
            _parquet(target / f"seed-{seed:04}.parquet", [reader], own)
    (target / ACCOUNT).write_text(curation.canonical(account), encoding="utf-8")
    return account


def stream(run: Path, out: IO[bytes], request: Request) -> dict[str, Any]:
    """Export as a tar archive into a stream; returns the account.

    While a run goes on a part may be replaced under the reader's eyes: then it is read again.
    """
    tries = 0
    while True:
        with tempfile.TemporaryDirectory() as directory:
            try:
                account = write(run, Path(directory), request)
            except PartError:
                tries += 1
                if tries == _TRIES:
                    raise
                continue
            with tarfile.open(fileobj=out, mode="w|") as archive:
                archive.add(directory, arcname=".", filter=_anonymous)
            return account


def seeds(run: Path) -> list[int]:
    """Seeds that have a directory."""
    found = (re.fullmatch(r"[0-9]+", each.name) for each in (run / "seeds").glob("*") if each.is_dir())
    return sorted(int(match[0]) for match in found if match)


def _readers(run: Path, chosen: Sequence[int]) -> Iterator[tuple[int, ExperienceReader]]:
    for seed in chosen or seeds(run):
        reader = ExperienceReader(run / "seeds" / str(seed) / DIRECTORY)
        if reader.head() is None:
            if chosen:
                raise ExportError(f"seed {seed} has no experience")
            continue
        yield seed, reader


def _parquet(path: Path, sources: Sequence[ExperienceReader], choice: Choice) -> None:
    writer: Any = None
    try:
        for group in curation.chosen(sources, choice):
            rows = group.rows.combine_chunks()
            if writer is None:
                writer = pq.ParquetWriter(path, rows.schema, compression=_COMPRESSION)
            writer.write_table(rows)
    finally:
        if writer is not None:
            writer.close()


def _said(choice: Choice) -> str:
    told = {name: count for name, count in choice.counts.items() if count}
    return ", ".join(f"{name} {count}" for name, count in told.items()) or "the run kept none"


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
