"""Golden files: what is read, and how a broken line is told."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from innervate_evaluator.dataset import read
from innervate_evaluator.failures import Exit, RunFailed

if TYPE_CHECKING:
    from pathlib import Path

GOOD = '{"id": "a", "input": "1+1", "expected": "2"}\n'


def refused(path: Path, content: bytes, **arguments: str) -> str:
    path.write_bytes(content)
    with pytest.raises(RunFailed) as error:
        read(path, sha256=arguments.get("sha256"), source="golden")
    assert error.value.exit is Exit.REFUSED
    return error.value.message


def test_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    lines = [
        {"id": "a", "input": "1+1", "expected": "2"},
        {"id": "b", "input": "x", "expected": ["y", "z"], "cluster": "k", "metadata": {"from": "us"}},
    ]
    content = "\n\n".join(map(json.dumps, lines)).encode()
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    dataset = read(path, sha256=digest, source="golden")
    first, second = dataset.questions
    assert dataset.sha256 == digest
    assert (first.id, first.input, first.expected) == ("a", "1+1", ("2",))
    assert (second.expected, second.cluster) == (("y", "z"), "k")
    assert first.cluster != second.cluster


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no object but a list"),
        ('{"id": "b", "input": "x"}', "expected is missing; add"),
        ('{"id": "b", "expected": "x"}', "input is missing; add it"),
        ('{"id": 7, "input": "x", "expected": "x"}', "id is a number; write a text"),
        ('{"id": "b", "input": "", "expected": "x"}', "input must have 1 to"),
        ('{"id": "b", "input": "x", "expected": []}', "expected must be a text or a list"),
        ('{"id": "b", "input": "x", "expected": [1]}', "expected must be a text or a list"),
        ('{"id": "b", "input": "x", "expcted": "x"}', "field 'expcted' is not known"),
        ('{"id": "b", "input": "x", "expected": "x", "metadata": 1}', "metadata is a number"),
        ('{"id": "a", "input": "x", "expected": "x"}', "id 'a' stands in line 1 already"),
        ('{"id": "b", "input": "\\ud800", "expected": "x"}', "lone surrogate"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_line_is_named_with_its_fix(tmp_path: Path, line: str, words: str) -> None:
    message = refused(tmp_path / "golden.jsonl", (GOOD + line + "\n").encode())
    assert "line 2: " in message
    assert words in message


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    assert "line 2: is not UTF-8" in refused(tmp_path / "g", GOOD.encode() + b'"\xff\xfe"\n')


def test_many_broken_lines_are_counted(tmp_path: Path) -> None:
    message = refused(tmp_path / "golden.jsonl", b"{\n" * 25)
    assert "line 10: " in message
    assert "line 11: " not in message
    assert "and 15 more" in message


def test_another_content_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path / "golden.jsonl", GOOD.encode(), sha256="0" * 64)
    assert hashlib.sha256(GOOD.encode()).hexdigest() in message


def test_nothing_is_refused(tmp_path: Path) -> None:
    assert "holds no question" in refused(tmp_path / "golden.jsonl", b"\n \n")


def test_a_missing_file_tells_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text("")
    with pytest.raises(RunFailed) as error:
        read(tmp_path / "golden.jsonl", sha256=None, source="ConfigMap 'x', key 'golden.jsonl'")
    assert error.value.reason == "DatasetMissing"
    assert "there are: other.jsonl" in error.value.message
