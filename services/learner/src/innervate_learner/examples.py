"""What is trained on: examples from files, the replay buffer, and which of them each step takes."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, NamedTuple

from innervate_models import topics
from innervate_models.chance import Draw
from innervate_models.pretraining import RECIPE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

MAX_BYTES = 1 << 30
"""Largest file that is read."""
_SHOWN = 20
"""Bad lines that are named."""


class DataError(ValueError):
    """Data cannot be used; the message names file, line and reason."""


class Example(NamedTuple):
    """A question and the answer to learn."""

    prompt: str
    answer: str


class DataSet(NamedTuple):
    """Examples and where they came from."""

    uri: str
    digest: str
    """Of the bytes they were read from."""
    examples: list[Example]


def read(directory: Path, *, but: str = "") -> list[DataSet]:
    """Read every ``.jsonl`` file of the data sets: a directory for each, numbered.

    Parameters
    ----------
    directory
        Holds the data sets' directories.
    but
        Path of a file that is left out.

    Raises
    ------
    DataError
        No examples, or lines that are none; every file is checked before anything is told.
    """
    paths = [
        path
        for path in sorted(directory.glob("*/*.jsonl"))
        # A mounted ConfigMap holds its files a second time in directories that start with dots.
        if path.is_file() and not path.relative_to(directory).as_posix().startswith(".")
    ]
    names = [path.relative_to(directory).as_posix() for path in paths]
    if but and but not in names:
        raise DataError(
            f"the replay buffer {but} is not among the data: {', '.join(names) or 'there is none'}"
        )
    found = [read_file(path, name) for path, name in zip(paths, names, strict=True) if name != but]
    if not any(data.examples for data in found):
        raise DataError(
            f"there are no examples: {directory} needs <n>/*.jsonl with lines of prompt and answer"
        )
    return found


def read_file(path: Path, name: str) -> DataSet:
    """Read one file.

    Raises
    ------
    DataError
        A line is no example; the first ones are named.
    """
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{name} is larger than {MAX_BYTES} bytes")
    content = path.read_bytes()
    examples: list[Example] = []
    problems: list[str] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                examples.append(_example(line))
            except ValueError as error:
                problems.append(f"{name}:{number}: {error}")
    if problems:
        more = f"\nand {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError("\n".join(problems[:_SHOWN]) + more)
    return DataSet(f"data/{name}", "sha256:" + hashlib.sha256(content).hexdigest(), examples)


def replayed(names: Sequence[str], *, count: int) -> DataSet:
    """Make a replay buffer from what the base model was trained on, by its recipe's seed.

    Raises
    ------
    DataError
        A topic is not known.
    """
    try:
        made = topics.generate(names or topics.TOPICS, seed=RECIPE.data_seed, count=count)
    except ValueError as error:
        raise DataError(f"replayTopics: {error}") from error
    content = "".join(f"{line}\n" for line in topics.training_lines(made)).encode()
    return DataSet(
        "replay",
        "sha256:" + hashlib.sha256(content).hexdigest(),
        [Example(example.prompt, example.answer) for example in made],
    )


class Order:
    """Which examples each step takes: every one once before any comes again.

    Parameters
    ----------
    fresh, replay
        The two sources.
    batch
        Examples a step.
    replay_share
        Share of them from `replay`.
    seed
        Of the order.
    """

    def __init__(
        self,
        fresh: Sequence[Example],
        replay: Sequence[Example],
        *,
        batch: int,
        replay_share: float,
        seed: int,
    ) -> None:
        old = round(batch * replay_share) if replay else 0
        self._take = (_taker(fresh, batch - old, f"fresh/{seed}"), _taker(replay, old, f"replay/{seed}"))

    def step(self, number: int) -> list[Example]:
        """Examples of a step, from 0: a function of the number alone, so that a resumed run goes on in it."""
        return [example for take in self._take for example in take(number)]


def _taker(source: Sequence[Example], count: int, name: str) -> Callable[[int], list[Example]]:
    orders: dict[int, list[int]] = {}

    def order(epoch: int) -> list[int]:
        if epoch not in orders:
            for past in [known for known in orders if known < epoch - 1]:
                del orders[past]
            orders[epoch] = Draw(name, epoch).shuffled(range(len(source)))
        return orders[epoch]

    def take(step: int) -> list[Example]:
        taken = []
        for position in range(step * count, (step + 1) * count):
            epoch, place = divmod(position, len(source))
            taken.append(source[order(epoch)[place]])
        return taken

    return take


def _example(line: bytes) -> Example:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError("no JSON object")  # noqa: TRY004  one kind of error for one kind of fault
    for name in ("prompt", "answer"):
        if not isinstance(content.get(name), str) or not content[name].strip():
            raise ValueError(f"{name!r} must be a text that is not empty")
    return Example(content["prompt"], content["answer"])
