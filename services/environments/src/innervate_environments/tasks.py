"""Files of tasks: one JSON object a line, checked line by line."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from innervate_service.config import ConfigError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from innervate_environments.spaces import MAX_TEXT

if TYPE_CHECKING:
    from pathlib import Path

Split = Literal["training", "evaluation"]
SPLITS: Final[tuple[Split, Split]] = ("training", "evaluation")


class Task(BaseModel):
    """One task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1, max_length=253)
    input: str = Field(max_length=MAX_TEXT)
    expected: tuple[str, ...] = Field(max_length=1024)
    split: Split = "training"
    metadata: dict[str, Any] = Field(default_factory=dict)


class TaskSet(NamedTuple):
    """The tasks of a file."""

    digest: str
    """``sha256:…`` of the file."""
    splits: dict[Split, tuple[Task, ...]]
    """In the file's order."""


def read(path: Path, *, sha256: str | None = None) -> TaskSet:
    """Read a file of tasks.

    Parameters
    ----------
    path
        JSON lines.
    sha256
        What the file must be; None for whatever it is.

    Raises
    ------
    ConfigError
        It cannot be used; the message names line, field, value and fix.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"tasks {path} cannot be read: {error.strerror or error}; mount them there"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise ConfigError(f"tasks {path} have the SHA-256 {found}, not {sha256}; give the file that is meant")
    splits: dict[Split, list[Task]] = {"training": [], "evaluation": []}
    seen: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        task = _task(path, number, line)
        if task.id in seen:
            raise ConfigError(
                f"tasks {path}, line {number}: id = {task.id!r} is also that of line {seen[task.id]}; "
                "give each its own"
            )
        seen[task.id] = number
        splits[task.split].append(task)
    if not seen:
        raise ConfigError(f"tasks {path} hold none; write one JSON object a line")
    return TaskSet(f"sha256:{found}", {split: tuple(tasks) for split, tasks in splits.items()})


def _task(path: Path, number: int, line: bytes) -> Task:
    try:
        document = json.loads(line)
        if isinstance(document, dict) and isinstance(document.get("expected"), str):
            document["expected"] = [document["expected"]]
        return Task.model_validate(document)
    except ValidationError as error:
        problem = error.errors()[0]
        field, value = ".".join(map(str, problem["loc"])) or "the line", repr(problem["input"])[:100]
        raise ConfigError(f"tasks {path}, line {number}: {field} = {value}: {problem['msg']}") from error
    except ValueError as error:
        raise ConfigError(f"tasks {path}, line {number}: is no JSON: {error}; correct it") from error
