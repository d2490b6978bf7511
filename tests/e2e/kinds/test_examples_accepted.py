"""Every example is accepted as it stands by a real API server, as kubectl would send it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[3] / "deploy/examples"
FILES = sorted(str(file.relative_to(EXAMPLES)) for file in EXAMPLES.rglob("*.yaml"))


def test_there_are_examples_of_every_kind() -> None:
    assert {file.partition("/")[0] for file in FILES} >= {"computepool", "memorystore"}


def test_every_example_is_accepted(lab: Lab) -> None:
    apply = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--output=name")
    files = [f"--filename={EXAMPLES / file}" for file in FILES]
    assert len(lab.kubectl(*apply, *files).split()) >= len(FILES)
