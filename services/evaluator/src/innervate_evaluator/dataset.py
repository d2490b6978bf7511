"""Questions with known answers: JSON lines, each checked before the first one is asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from innervate_evaluator.failures import RunFailed

if TYPE_CHECKING:
    from pathlib import Path

MAX_SAMPLES: Final = 100_000
MAX_BYTES: Final = 256 * 1024 * 1024
MAX_LINE_BYTES: Final = 1024 * 1024
_MAX_ID: Final = 256
_MAX_EXPECTED: Final = 64
_TOLD: Final = 10
"""How many broken lines are named."""
_FIELDS: Final = ("id", "input", "expected", "cluster", "metadata")


@dataclass(frozen=True, slots=True)
class Question:
    """One line of a dataset.

    Parameters
    ----------
    id
        Unique in the dataset.
    input
        What is asked.
    expected
        Every answer that counts as right.
    cluster
        Questions of the same cluster are one unit; by default each is its own.
    """

    id: str
    input: str
    expected: tuple[str, ...]
    cluster: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """All questions, and the digest of the file they came from."""

    questions: tuple[Question, ...]
    sha256: str


class _Broken(Exception):
    pass


def read(path: Path, *, sha256: str | None, source: str) -> Dataset:
    """Read and check a dataset.

    Parameters
    ----------
    path
        The file.
    sha256
        What its digest must be; None for anything.
    source
        Where the file comes from, for messages.

    Raises
    ------
    RunFailed
        It cannot be read, is another file, or lines are broken; each is named with its fix.
    """
    content = _content(path, source)
    digest = hashlib.sha256(content).hexdigest()
    if sha256 is not None and digest != sha256:
        raise _refused(
            f"{source} has SHA-256 {digest}, spec.dataset.sha256 says {sha256}; correct whichever is wrong"
        )
    questions: dict[str, Question] = {}
    lines: dict[str, int] = {}
    problems = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            question = _question(line)
            if question.id in lines:
                raise _Broken(
                    f"id {question.id!r} stands in line {lines[question.id]} already; ids must differ"
                )
        except _Broken as broken:
            problems.append(f"line {number}: {broken}")
            continue
        lines[question.id] = number
        questions[question.id] = question
    if problems:
        told = "; ".join(problems[:_TOLD])
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        raise _refused(f"{source}: {told}{more}")
    if not questions:
        raise _refused(f"{source} holds no question; write at least one line")
    if len(questions) > MAX_SAMPLES:
        raise _refused(f"{source} holds {len(questions)} questions, at most {MAX_SAMPLES} can be; split it")
    return Dataset(tuple(questions.values()), digest)


def _content(path: Path, source: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _refused(f"{source} has {size} bytes, at most {MAX_BYTES} can be; split it")
        return path.read_bytes()
    except OSError as error:
        there = (
            sorted(each.name for each in path.parent.glob("[!.]*"))[:_TOLD] if path.parent.is_dir() else []
        )
        names = f"; there are: {', '.join(there)}" if there else ""
        reason = (error.strerror or str(error)).lower()
        raise RunFailed(
            "DatasetMissing", f"{source} cannot be read: {reason}{names}", permanent=True
        ) from error


def _refused(message: str) -> RunFailed:
    return RunFailed("DatasetRefused", message, permanent=True)


def _question(line: bytes) -> Question:
    if len(line) > MAX_LINE_BYTES:
        raise _Broken(f"has {len(line)} bytes, at most {MAX_LINE_BYTES} can be; shorten it")
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        raise _Broken("is not UTF-8; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise _Broken(f"is no JSON ({error.msg} at column {error.colno}); correct it") from error
    except RecursionError as error:
        raise _Broken("is nested too deeply; write a flat object") from error
    if not isinstance(value, dict):
        raise _Broken(f'is no object but {_kind(value)}; write {{"id": …, "input": …, "expected": …}}')
    unknown = sorted(set(value) - set(_FIELDS))
    if unknown:
        raise _Broken(f"field {unknown[0]!r} is not known; known are {', '.join(_FIELDS)}")
    if not isinstance(value.get("metadata", {}), dict):
        raise _Broken(f"metadata is {_kind(value['metadata'])}; write an object")
    identifier = _text(value, "id", limit=_MAX_ID)
    cluster = _text(value, "cluster", limit=_MAX_ID) if "cluster" in value else ""
    return Question(
        id=identifier,
        input=_text(value, "input", limit=MAX_LINE_BYTES),
        expected=_expected(value),
        # No cluster of a file begins with NUL: a question without one is alone in its own.
        cluster=cluster or f"\0{identifier}",
    )


def _text(value: dict[str, Any], field: str, *, limit: int) -> str:
    if field not in value:
        raise _Broken(f"{field} is missing; add it")
    text = value[field]
    if not isinstance(text, str):
        raise _Broken(f"{field} is {_kind(text)}; write a text")
    if not text or len(text) > limit or "\0" in text:
        raise _Broken(f"{field} must have 1 to {limit} characters, none of them NUL")
    return _storable(text, field)


def _expected(value: dict[str, Any]) -> tuple[str, ...]:
    if "expected" not in value:
        raise _Broken("expected is missing; add the right answer, or a list of them")
    expected = value["expected"]
    answers = [expected] if isinstance(expected, str) else expected
    if not isinstance(answers, list) or not answers or not all(isinstance(each, str) for each in answers):
        raise _Broken("expected must be a text or a list of at least one text")
    if len(answers) > _MAX_EXPECTED:
        raise _Broken(f"expected has {len(answers)} answers, at most {_MAX_EXPECTED} can be")
    return tuple(_storable(each, "expected") for each in answers)


def _storable(text: str, field: str) -> str:
    """Lone surrogates can be written in JSON and in nothing else."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _Broken(f"{field} holds half of a character (a lone surrogate); correct it") from error
    return text


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
