"""Releases that say one letter for ever: what is good, and what is bad only for live traffic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import letter_model
from loop_callers import Question

if TYPE_CHECKING:
    from pathlib import Path

    from loop_pool import LoopPool

GOOD, BAD, UNSIGNED = "good", "bad", "unsigned"
GOLDEN = "golden"
"""ConfigMap with questions."""
CONTEXT = 1024
_SAYS = 8
_QUESTIONS = 60
LIVE = (Question("hello", "a" * _SAYS),)
"""What callers ask: only the good release knows the answer."""


def release(pool: LoopPool, directory: Path) -> None:
    """Prepare the pool's namespace and push the three releases."""
    pool.prepare()
    for name, letter in ((GOOD, "a"), (BAD, "b")):
        pool.push(name, letter_model.write(directory / name, letter))
    pool.push_unsigned(UNSIGNED, directory / GOOD)
    pool.lab.apply(golden(pool))


def golden(pool: LoopPool) -> dict[str, Any]:
    """ConfigMap with questions that both know the answer to."""
    return pool.object("v1", "ConfigMap", GOLDEN, data={"golden.jsonl": golden_lines()})


def golden_lines() -> str:
    """Those questions, as an EvalJob reads them."""
    expected = ["a" * _SAYS, "b" * _SAYS]
    lines = (
        {"id": f"q{number}", "input": f"hello {number}", "expected": expected} for number in range(_QUESTIONS)
    )
    return "\n".join(map(json.dumps, lines))
