"""The conversations the demonstration remembers, and what it asks of them later."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import NamedTuple

SPACE = "greenhouse"


class Turn(NamedTuple):
    """One utterance."""

    session: str
    user: str
    speaker: str
    text: str


class Question(NamedTuple):
    """A question of a later session, and where its answer was said."""

    question: str
    session: str
    answer: str


def turns() -> list[Turn]:
    """Every utterance, in the order it was said."""
    return [Turn(**fields) for fields in _lines("conversations.jsonl")]


def questions() -> list[Question]:
    """What a later session asks."""
    return [Question(**fields) for fields in _lines("questions.jsonl")]


def manifest() -> str:
    """The MemoryStore of the demonstration, as YAML."""
    return files("innervate_demo").joinpath("memorystore.yaml").read_text(encoding="utf-8")


def _lines(name: str) -> list[dict[str, str]]:
    text = files("innervate_demo").joinpath(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
